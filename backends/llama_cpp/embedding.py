"""`LlamaCppEmbedder`: one GGUF model behind the engine contract that turns texts into vectors and writes nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import llama_cpp
import numpy as np
from numpy.typing import NDArray

from backends import machine
from backends.base import (
    ContextLengthError,
    EngineClosedError,
    EngineError,
    InvalidRequestError,
    ModelUnavailableError,
    UnsupportedError,
)
from backends.gguf_header import GGUFHeader, check_gguf
from backends.llama_cpp import native_log
from backends.llama_cpp.embedding_context import SEQUENCES, EmbeddingContext, EmbeddingOptions
from backends.llama_cpp.embedding_queue import Call, EmbeddingQueue, Outcome
from backends.llama_cpp.kv_size import cell_shape
from backends.llama_cpp.model import Model
from backends.llama_cpp.native_thread import NativeThread
from backends.types import (
    LONGEST_DEFAULT_WINDOW,
    Capabilities,
    Embedding,
    EngineConfig,
    Event,
    GenerationRequest,
    ModelInfo,
    TokenPiece,
)

log = logging.getLogger(__name__)

Inputs = Sequence[Sequence[int] | str]


class LlamaCppEmbedder:
    """Serves many calls at once from one model: `start` it, `embed` with it, `close` it."""

    capabilities = Capabilities(chat=False, embeddings=True)

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        self._owned = AsyncExitStack()
        self._futures: dict[Call, asyncio.Future[None]] = {}
        self._closed = False

    async def start(self, progress: Callable[[float], None]) -> None:
        """Load the model; `progress` hears fractions from 0 to 1 on the event loop.

        Raises:
            ModelUnavailableError: the file is missing, damaged, of a kind that has no embeddings, or does not fit.
        """
        loop = asyncio.get_running_loop()

        def report(fraction: float) -> None:
            loop.call_soon_threadsafe(progress, fraction)

        def deliver(outcomes: list[Outcome]) -> None:
            loop.call_soon_threadsafe(self._hand_out, outcomes)

        native = NativeThread("llama.cpp-embedding")
        self._owned.callback(native.end)
        await asyncio.wrap_future(native.submit(partial(self._load, report)))
        # Its end waits for its threads, so nothing reads a vocabulary that is freed.
        self._tokenising = self._owned.enter_context(ThreadPoolExecutor(2, "tokenise"))
        self._queue = EmbeddingQueue(self._context, most_inputs=SEQUENCES, deliver=deliver)
        self._owned.push_async_callback(asyncio.to_thread, self._queue.close)
        await asyncio.to_thread(self._queue.start, native, self._warm_up)

    def _load(self, report: Callable[[float], None]) -> None:
        config = self._config
        native_log.install(config.engine_log_level)
        llama_cpp.llama_backend_init()
        header = check_gguf(config.model)
        self._model = Model(config.model, config.llama, progress=report)
        self._owned.callback(self._model.close)
        threads = config.llama.n_threads_batch or config.llama.n_threads
        options = EmbeddingOptions(
            window=self._window(header),
            n_batch=config.llama.n_batch,
            n_threads=threads or machine.sensible_threads(self._model.size_bytes, machine.physical_cores()),
            flash_attn=config.llama.flash_attn,
        )
        self._context = EmbeddingContext(self._model, options)
        self._owned.callback(self._context.close)
        self._settings = self._context.settings()
        self.info = self._describe(options.window)

    def _window(self, header: GGUFHeader) -> int:
        """Tokens that one input may have: no more than the model was trained on, nor than the memory holds."""
        trained = self._model.trained_context
        asked = self._config.context_window or min(trained, LONGEST_DEFAULT_WINDOW)
        # llama.cpp makes room for the logits of all tokens of an encoder's input, though nobody looks at them.
        token_bytes = max(4 * self._model.vocab.size, cell_shape(header).size_bytes("f16", "f16"))
        window = machine.tokens_that_fit(min(asked, trained), token_bytes, machine.available_memory())
        if window < asked:
            reason = "the model was trained on no more" if window == trained else "there is no memory for more"
            log.warning("inputs may have %d tokens instead of %d: %s", window, asked, reason)
        return window

    def _describe(self, window: int) -> ModelInfo:
        model = self._model
        return ModelInfo(
            name=self._config.alias,
            architecture=model.architecture,
            context_window=window,
            trained_context=model.trained_context,
            kv_cells=self._context.cells,
            vocab_size=model.vocab.size,
            parameters=model.parameters,
            size_bytes=model.size_bytes,
            chat_format="none",
            engine="llama_cpp",
            engine_version=llama_cpp.__version__,
        )

    def _warm_up(self) -> None:
        """Evaluate something: weights come into memory, and a model that cannot be evaluated is known now."""
        try:
            vector = self._context.embed([self._model.vocab.encode_prompt("a", special=False) or [0]])
        except EngineError as error:
            raise ModelUnavailableError(f"the model does not work: {error.message}") from error
        if not np.isfinite(vector).all():
            raise ModelUnavailableError("the model does not work: its vectors are not numbers")

    async def embed(self, inputs: Inputs, *, dimensions: int | None = None) -> list[Embedding]:
        """The vectors of texts and token ids; see `backends.base.Engine.embed`."""
        if self._closed:
            raise EngineClosedError("the engine was closed")
        self._check_dimensions(dimensions)
        loop = asyncio.get_running_loop()
        call = Call(await loop.run_in_executor(self._tokenising, self._encode_all, inputs))
        if not call.inputs:
            return []
        self._futures[call] = done = loop.create_future()
        try:
            self._queue.submit(call)
            await done
        finally:
            del self._futures[call]
            self._queue.abort(call)
        return [_embedding(call, number, dimensions) for number in range(len(call.inputs))]

    def _check_dimensions(self, dimensions: int | None) -> None:
        if dimensions is not None and not 1 <= dimensions <= self._context.width:
            raise InvalidRequestError(
                f"dimensions is {dimensions}, but the vectors of this model have 1 to {self._context.width}",
                param="dimensions",
            )

    def _encode_all(self, inputs: Inputs) -> list[list[int]]:
        return [self._encode(item, f"input[{number}]") for number, item in enumerate(inputs)]

    def _encode(self, item: Sequence[int] | str, param: str) -> list[int]:
        """The ids of one input, in the window."""
        ids = self._tokens(item, param) if isinstance(item, str) else self._checked(item, param)
        if not ids:
            raise InvalidRequestError(f"{param} has no tokens", param=param)
        if len(ids) > self.info.context_window:
            raise ContextLengthError(
                f"{param} has {len(ids)} tokens, but the context window of this model holds {self.info.context_window}",
                param=param,
            )
        return ids

    def _tokens(self, text: str, param: str) -> list[int]:
        try:
            self._model.vocab.check_length(text, self.info.context_window, param=param)
        except ContextLengthError as error:
            raise ContextLengthError(f"{param} is too long: {error.message}", param=param) from None
        return self._model.vocab.encode_prompt(text, special=False)

    def _checked(self, ids: Sequence[int], param: str) -> list[int]:
        for token in ids:
            if not 0 <= token < self.info.vocab_size:
                raise InvalidRequestError(
                    f"{token} in {param} is not a token id of this model (0 to {self.info.vocab_size - 1})", param=param
                )
        return list(ids)

    def _hand_out(self, outcomes: list[Outcome]) -> None:
        for call, error in outcomes:
            done = self._futures.get(call)
            if done is None or done.done():
                continue
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[Event]:
        """Not offered by an embedding model."""
        del request
        raise UnsupportedError(f"{self.info.name} is an embedding model and writes no text", param="model")
        yield  # makes this the iterator that the contract asks for

    async def tokenize(self, text: str, *, add_special: bool = False) -> list[TokenPiece]:
        """The tokens of a text; see `backends.base.Engine.tokenize`."""
        pieces = partial(self._model.vocab.token_pieces, text, add_special=add_special)
        return await asyncio.get_running_loop().run_in_executor(self._tokenising, pieces)

    async def detokenize(self, token_ids: Sequence[int]) -> str:
        """The text of the tokens; see `backends.base.Engine.detokenize`."""
        return self._model.vocab.decode(token_ids, special=True).decode(errors="replace")

    async def stats(self) -> dict[str, Any]:
        """Gauges and counters of the queue, and `settings`. Cells are in use only inside a batch: none is reserved."""
        cells = {"kv_cells": self.info.kv_cells, "kv_cells_reserved": 0}
        return {**self._queue.stats(), **cells, "settings": self._settings}

    async def close(self) -> None:
        """End all calls and free the model; harmless when called twice."""
        self._closed = True
        await self._owned.aclose()


def _embedding(call: Call, number: int, dimensions: int | None) -> Embedding:
    vector = call.vectors[number][:dimensions].astype(np.float64)
    return Embedding(_normalised(vector).astype("<f4").tobytes(), len(call.inputs[number]))


def _normalised(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """The vector with norm 1. Raises `EngineError` where it has none."""
    norm = float(np.linalg.norm(vector))
    if not 0 < norm < np.inf:
        raise EngineError("the model gave a vector without a direction")
    return np.asarray(vector / norm)
