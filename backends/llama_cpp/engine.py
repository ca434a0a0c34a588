"""`LlamaCppEngine`: one GGUF model behind the engine contract."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from typing import Any

import llama_cpp

from backends.base import ContextLengthError, EngineError, InvalidRequestError, UnsupportedError
from backends.chat_formats import choose_format
from backends.features import refuse_undeclared
from backends.gguf_header import check_gguf
from backends.llama_cpp import machine, native_log
from backends.llama_cpp.context import Context, ContextOptions
from backends.llama_cpp.job import Job
from backends.llama_cpp.model import Model
from backends.llama_cpp.plan import CellBudget, new_tokens_allowed
from backends.llama_cpp.prompts import Prompt, Prompts
from backends.llama_cpp.sampling import resolve, sampling_defaults
from backends.llama_cpp.scheduler import Parcel, Scheduler
from backends.llama_cpp.warmup import warm_up
from backends.types import Accepted, Capabilities, Delta, EngineConfig, Event, GenerationRequest, ModelInfo, TokenPiece

log = logging.getLogger(__name__)

LONGEST_DEFAULT_WINDOW = 8192
"""Tokens of context per request when nothing is configured and the model was trained on more."""


class LlamaCppEngine:
    """Serves many requests at once from one model: `start` it, `stream` from it, `close` it."""

    capabilities = Capabilities(prefill_only=True)

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        self._owned = AsyncExitStack()

    async def start(self, progress: Callable[[float], None]) -> None:
        """Load the model; `progress` hears fractions from 0 to 1 on the event loop.

        Raises:
            ModelUnavailableError: the file is missing, damaged, of an unknown kind, or does not fit.
        """
        loop = asyncio.get_running_loop()

        def report(fraction: float) -> None:
            loop.call_soon_threadsafe(progress, fraction)

        def deliver(parcels: list[Parcel]) -> None:
            loop.call_soon_threadsafe(_hand_out, parcels)

        config = self._config
        await asyncio.to_thread(self._load, report)
        vocab = self._model.vocab
        chat_format = await choose_format(
            config.chat_format, vocab, file=config.chat_format_file, template=self._model.chat_template
        )
        self._owned.push_async_callback(chat_format.close)
        self.info = self._describe(chat_format.name)
        # Its end waits for its threads, so nothing reads a vocabulary that is freed.
        self._tokenising = self._owned.enter_context(ThreadPoolExecutor(2, "tokenise"))
        self._prompts = Prompts(vocab, chat_format, self.info.context_window, self._tokenising)
        cells = CellBudget(self._context.cells, config.llama.n_parallel)
        self._scheduler = Scheduler(self._context, vocab, cells=cells, cost=self._cost, deliver=deliver)
        self._scheduler.start()
        self._owned.push_async_callback(asyncio.to_thread, self._scheduler.close)

    def _load(self, report: Callable[[float], None]) -> None:
        config = self._config
        native_log.install(config.engine_log_level)
        llama_cpp.llama_backend_init()
        check_gguf(config.model)
        self._model = Model(config.model, n_gpu_layers=config.llama.n_gpu_layers, progress=report)
        self._owned.callback(self._model.close)
        self._defaults = sampling_defaults(self._model.metadata)
        options = ContextOptions(
            cells=self._size_cache(),
            sequences=config.llama.n_parallel,
            n_batch=max(config.llama.n_batch, config.llama.n_parallel),
            n_threads=config.llama.n_threads
            or machine.sensible_threads(self._model.size_bytes, machine.physical_cores()),
            flash_attn=config.llama.flash_attn,
            kv_cache_type=config.llama.kv_cache_type,
        )
        self._context = Context(self._model, options)
        self._owned.callback(self._context.close)
        self._cost = warm_up(self._context)

    def _size_cache(self) -> int:
        """KV cells for all requests together; sets the tokens of context that each may use."""
        trained = self._model.trained_context
        window = self._config.context_window or min(trained, LONGEST_DEFAULT_WINDOW)
        if window > trained:
            log.warning("the context window of %d tokens is longer than the model's %d", window, trained)
        bytes_per_number = 4 if self._config.llama.kv_cache_type == "f32" else 2
        windows = machine.windows_that_fit(
            self._config.llama.n_parallel, window * self._model.kv_width * bytes_per_number, machine.available_memory()
        )
        self._window = window
        cells = self._config.llama.kv_cells or window * windows
        if cells < window:
            log.warning("%d KV cells are fewer than the context window; there will be %d", cells, window)
        return max(cells, window)

    def _describe(self, chat_format: str) -> ModelInfo:
        model = self._model
        return ModelInfo(
            name=self._config.alias,
            architecture=model.architecture,
            context_window=self._window,
            trained_context=model.trained_context,
            kv_cells=self._context.cells,
            vocab_size=model.vocab.size,
            parameters=model.parameters,
            size_bytes=model.size_bytes,
            chat_format=chat_format,
            engine="llama_cpp",
            engine_version=llama_cpp.__version__,
        )

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[Event]:
        """Generate; see `backends.base.Engine.stream`."""
        self._check(request)
        job = self._job(request, await self._prompts.encode(request))
        self._scheduler.submit(job)
        try:
            while (event := await _next_event(job)) is not None:
                yield event
                if request.echo and isinstance(event, Accepted):
                    for index in range(request.n):
                        yield Delta(index=index, text=self._echo(request, job))
        finally:
            self._scheduler.abort(job)

    def _check(self, request: GenerationRequest) -> None:
        refuse_undeclared(request, self.capabilities)
        if request.n > self._config.llama.n_parallel:
            raise InvalidRequestError(
                f"n is {request.n}, but this server generates at most {self._config.llama.n_parallel} choices at once",
                param="n",
            )
        # llama.cpp takes these as indices into the logits and does not look at their range.
        self._check_ids("logit_bias", request.sampling.logit_bias)
        self._check_ids("stop_token_ids", request.stopping.stop_token_ids)

    def _check_ids(self, param: str, ids: Iterable[int]) -> None:
        for token in ids:
            if not 0 <= token < self._model.vocab.size:
                raise InvalidRequestError(f"{token} is not a token id of this model", param=param)

    def _job(self, request: GenerationRequest, prompt: Prompt) -> Job:
        stopping = request.stopping
        max_new = new_tokens_allowed(
            stopping.max_tokens,
            len(prompt.ids),
            request.n,
            window=self.info.context_window,
            cells=self.info.kv_cells,
        )
        if max_new < min(1, stopping.max_tokens if stopping.max_tokens is not None else 1):
            raise ContextLengthError(
                f"{request.n} choices after a prompt of {len(prompt.ids)} tokens do not fit"
                f" the {self.info.kv_cells} KV cells",
                param="n",
            )
        natural = frozenset() if stopping.ignore_eos else self._model.vocab.end_of_generation
        return Job(
            request=request,
            prompt=prompt.ids,
            sampling=resolve(request.sampling, self._defaults),
            stops=(*stopping.stop, *prompt.stops),
            end_tokens=natural | frozenset(stopping.stop_token_ids),
            max_new=max_new,
        )

    def _echo(self, request: GenerationRequest, job: Job) -> str:
        if request.prompt is not None:
            return request.prompt
        return self._model.vocab.decode(job.prompt, special=not request.skip_special_tokens).decode(errors="replace")

    async def embed(self, inputs: Sequence[Sequence[int] | str]) -> list[list[float]]:
        """Not offered by a chat model."""
        del inputs
        raise UnsupportedError(f"{self.info.name} is not an embedding model", param="model")

    async def tokenize(self, text: str, *, add_special: bool = False) -> list[TokenPiece]:
        """The tokens of a text; see `backends.base.Engine.tokenize`."""
        vocab = self._model.vocab

        def pieces() -> list[TokenPiece]:
            ids = vocab.encode_prompt(text, special=False) if add_special else vocab.encode(text, special=False)
            return [TokenPiece(token, vocab.control_text(token)) for token in ids]

        return await asyncio.get_running_loop().run_in_executor(self._tokenising, pieces)

    async def detokenize(self, token_ids: Sequence[int]) -> str:
        """The text of the tokens; see `backends.base.Engine.detokenize`."""
        return self._model.vocab.decode(token_ids, special=True).decode(errors="replace")

    async def stats(self) -> dict[str, Any]:
        """Gauges and counters of the scheduler."""
        return self._scheduler.stats()

    async def close(self) -> None:
        """End all requests and free the model; harmless when called twice."""
        await self._owned.aclose()


async def _next_event(job: Job) -> Event | None:
    event = await job.events.get()
    if isinstance(event, EngineError):
        raise event
    return event


def _hand_out(parcels: list[Parcel]) -> None:
    for job, event in parcels:
        job.events.put_nowait(event)
