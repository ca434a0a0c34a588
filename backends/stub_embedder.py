"""`StubEmbedder`: deterministic vectors without a model; texts that share words lie closer to each other than others.

A text that is a script (docs/stub-engine.md) can ask for a delay, an error, a hang or a crash.
"""

from __future__ import annotations

import asyncio
import math
import os
import signal
import struct
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from hashlib import blake2b
from typing import Any

from backends.base import ContextLengthError, EngineClosedError, InvalidRequestError, UnsupportedError, error_classes
from backends.stub_script import VOCAB_SIZE, join, read_script, split, token_id
from backends.types import Capabilities, Embedding, EngineConfig, Event, GenerationRequest, ModelInfo, TokenPiece

WIDTH = 32
"""Numbers in a vector."""

_DEFAULT_CONTEXT = 512


class StubEmbedder:
    """Fulfils `LoadableEngine` for the task `embed`; computes at once, any number of calls beside each other."""

    capabilities = Capabilities(chat=False, embeddings=True)

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        self._closed = asyncio.Event()
        self._running = 0
        self._tokens = 0

    async def start(self, progress: Callable[[float], None]) -> None:
        progress(1.0)

    @property
    def info(self) -> ModelInfo:
        window = self._config.context_window or _DEFAULT_CONTEXT
        return ModelInfo(
            name=self._config.alias,
            architecture="stub",
            context_window=window,
            trained_context=window,
            kv_cells=0,
            vocab_size=VOCAB_SIZE,
            parameters=0,
            size_bytes=0,
            chat_format="none",
            engine="stub",
            engine_version="1",
        )

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[Event]:
        del request
        raise UnsupportedError(f"{self._config.alias} is an embedding model and writes no text", param="model")
        yield  # makes this the iterator that the contract asks for

    async def embed(self, inputs: Sequence[Sequence[int] | str], *, dimensions: int | None = None) -> list[Embedding]:
        if self._closed.is_set():
            raise EngineClosedError("the engine is closed")
        if dimensions is not None and not 1 <= dimensions <= WIDTH:
            raise InvalidRequestError(
                f"dimensions is {dimensions}, but the vectors of this model have 1 to {WIDTH}", param="dimensions"
            )
        texts = [item if isinstance(item, str) else join(item) for item in inputs]
        self._running += 1
        try:
            for text in texts:
                await self._play(text)
        finally:
            self._running -= 1
        return [self._embedding(text, f"input[{number}]", dimensions) for number, text in enumerate(texts)]

    async def _play(self, text: str) -> None:
        """Do what a script asks for; other texts ask for nothing."""
        script = read_script(text)
        if script.error is not None:
            raise error_classes().get(script.error, InvalidRequestError)("the script failed", retry_after_s=1.0)
        if script.crash_at is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        if script.hang_at is not None:
            await self._closed.wait()
            raise EngineClosedError("the engine is closed")
        if script.first_delay_ms:
            await asyncio.sleep(script.first_delay_ms / 1000)

    def _embedding(self, text: str, param: str, dimensions: int | None) -> Embedding:
        pieces, window = split(text), self.info.context_window
        if not pieces:
            raise InvalidRequestError(f"{param} has no tokens", param=param)
        if len(pieces) > window:
            raise ContextLengthError(
                f"{param} has {len(pieces)} tokens, but the context window of this model holds {window}", param=param
            )
        self._tokens += len(pieces)
        vector = _sum_of_words(pieces)[:dimensions]
        norm = math.hypot(*vector)
        return Embedding(struct.pack(f"<{len(vector)}f", *(number / norm for number in vector)), len(pieces))

    async def tokenize(self, text: str, *, add_special: bool = False) -> list[TokenPiece]:  # noqa: ARG002 - has none
        return [TokenPiece(token_id(piece), piece.encode()) for piece in split(text)]

    async def detokenize(self, token_ids: Sequence[int]) -> str:
        return join(token_ids)

    async def stats(self) -> dict[str, Any]:
        return {
            "running": self._running,
            "waiting": 0,
            "kv_cells": 0,
            "kv_cells_reserved": 0,
            "prompt_tokens_evaluated": self._tokens,
            "tokens_generated": 0,
        }

    async def close(self) -> None:
        self._closed.set()


def _sum_of_words(pieces: Sequence[str]) -> list[float]:
    """Every word is a direction of its own, made from a hash; never all zero."""
    vector = [0.0] * WIDTH
    for piece, count in Counter(piece.strip().lower() for piece in pieces).items():
        digest = blake2b(piece.encode(), digest_size=WIDTH).digest()
        vector = [number + count * (byte - 127.5) for number, byte in zip(vector, digest, strict=True)]
    return vector
