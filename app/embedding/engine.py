"""The static embedding as an engine of this process: it takes microseconds, so it needs no worker and no queue."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from app import __version__
from app.embedding import built_in
from app.embedding.static import StaticEmbedder
from app.hashed_file import DamagedFileError
from backends.base import (
    ContextLengthError,
    EngineClosedError,
    EngineError,
    InvalidRequestError,
    ModelUnavailableError,
    UnsupportedError,
)
from backends.types import Capabilities, Embedding, Event, GenerationRequest, ModelInfo, TokenPiece

WINDOW = 8192
"""Tokens of one input. The sum has no limit of its own, but what says so much says nothing in one vector."""

AT_ONCE = 4000
"""Characters that are embedded before the event loop has its turn; a text that is longer goes to a thread."""

Input = Sequence[int] | str


async def launch(name: str) -> StaticEngine:
    """The engine, loaded.

    Raises:
        ModelUnavailableError: the file that ships is missing or damaged.
    """
    try:
        return StaticEngine(name, await asyncio.to_thread(built_in))
    except DamagedFileError as error:
        raise ModelUnavailableError(str(error)) from None


class StaticEngine:
    """Fulfils `SupervisedEngine` for the task `embed`."""

    capabilities = Capabilities(chat=False, embeddings=True)
    failure: EngineError | None = None

    def __init__(self, name: str, embedder: StaticEmbedder) -> None:
        self._embedder = embedder
        self._closed = asyncio.Event()
        self._running = self._tokens = 0
        self.info = ModelInfo(
            name=name,
            architecture="static",
            context_window=WINDOW,
            trained_context=WINDOW,
            kv_cells=0,
            vocab_size=len(embedder.tokens.vocabulary),
            parameters=embedder.parameters,
            size_bytes=embedder.size_bytes,
            chat_format="none",
            engine="static",
            engine_version=__version__,
        )

    async def embed(self, inputs: Sequence[Input], *, dimensions: int | None = None) -> list[Embedding]:
        """The vectors of texts and token ids; see `backends.base.Engine.embed`. A text without tokens has one, too."""
        if self._closed.is_set():
            raise EngineClosedError("the engine was closed")
        if dimensions is not None and not 1 <= dimensions <= self._embedder.width:
            raise InvalidRequestError(
                f"dimensions is {dimensions}, but the vectors of this model have 1 to {self._embedder.width}",
                param="dimensions",
            )
        self._running += 1
        try:
            return await self._embedded(inputs, dimensions)
        finally:
            self._running -= 1

    async def _embedded(self, inputs: Sequence[Input], dimensions: int | None) -> list[Embedding]:
        found: list[Embedding] = []
        since = 0
        for number, item in enumerate(inputs):
            since += len(item)
            if len(item) > AT_ONCE:
                found.append(await asyncio.to_thread(self._one, item, number, dimensions))
            else:
                found.append(self._one(item, number, dimensions))
            if since > AT_ONCE:
                since = 0
                await asyncio.sleep(0)
        self._tokens += sum(embedding.tokens for embedding in found)
        return found

    def _one(self, item: Input, number: int, dimensions: int | None) -> Embedding:
        param = f"input[{number}]"
        ids = self._embedder.tokens.encode(item) if isinstance(item, str) else self._checked(item, param)
        if len(ids) > WINDOW:
            raise ContextLengthError(
                f"{param} has {len(ids)} tokens, but the context window of this model holds {WINDOW}", param=param
            )
        return Embedding(self._embedder.of_ids(ids, dimensions).astype("<f4").tobytes(), len(ids))

    def _checked(self, ids: Sequence[int], param: str) -> Sequence[int]:
        if not ids:
            raise InvalidRequestError(f"{param} has no tokens", param=param)
        for token in ids:
            if not 0 <= token < self.info.vocab_size:
                raise InvalidRequestError(
                    f"{token} in {param} is not a token id of this model (0 to {self.info.vocab_size - 1})", param=param
                )
        return ids

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[Event]:
        """Not offered by an embedding model."""
        del request
        raise UnsupportedError(f"{self.info.name} is an embedding model and writes no text", param="model")
        yield  # makes this the iterator that the contract asks for

    async def tokenize(self, text: str, *, add_special: bool = False) -> list[TokenPiece]:  # noqa: ARG002 - has none
        """The tokens of a text, as the vectors see them: in lower case, without accents and spaces."""
        ids = await asyncio.to_thread(self._embedder.tokens.encode, text)
        piece = self._embedder.tokens.piece
        return [TokenPiece(self._known(number), piece(number).encode()) for number in ids]

    def _known(self, number: int) -> int:
        """The id of `[UNK]` for one behind the vocabulary, which is nobody's business."""
        return number if number < self.info.vocab_size else self._embedder.tokens.unknown

    async def detokenize(self, token_ids: Sequence[int]) -> str:
        """The words of the tokens, with spaces between them; see `backends.base.Engine.detokenize`."""
        return self._embedder.tokens.decode(self._checked(token_ids, "tokens") if token_ids else ())

    async def stats(self) -> dict[str, Any]:
        """Gauges and counters."""
        return {
            "running": self._running,
            "waiting": 0,
            "kv_cells": 0,
            "kv_cells_reserved": 0,
            "prompt_tokens_evaluated": self._tokens,
            "tokens_generated": 0,
        }

    async def wait_closed(self) -> EngineError:
        """Return when it was closed: it cannot end otherwise."""
        await self._closed.wait()
        return EngineClosedError("the engine was closed")

    async def close(self) -> None:
        """Take no more calls; harmless when called twice."""
        self._closed.set()
