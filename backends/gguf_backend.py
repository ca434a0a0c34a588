"""`GGUFClient`: one client for a local model, whichever engine runs it.

The engine's name is read once, in the constructor; after that every method only forwards. It lives in the worker
process, between the frames and the engine.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

from backends.registry import create_engine
from backends.types import Capabilities, Embedding, EngineConfig, Event, GenerationRequest, ModelInfo, TokenPiece


class GGUFClient:
    """Delegates to the engine that `config.engine` names; a `backends.base.LoadableEngine` itself."""

    def __init__(self, config: EngineConfig) -> None:
        self._engine = create_engine(config)

    async def start(self, progress: Callable[[float], None]) -> None:
        await self._engine.start(progress)

    @property
    def capabilities(self) -> Capabilities:
        return self._engine.capabilities

    @property
    def info(self) -> ModelInfo:
        return self._engine.info

    def stream(self, request: GenerationRequest) -> AsyncGenerator[Event]:
        return self._engine.stream(request)

    async def embed(self, inputs: Sequence[Sequence[int] | str], *, dimensions: int | None = None) -> list[Embedding]:
        return await self._engine.embed(inputs, dimensions=dimensions)

    async def tokenize(self, text: str, *, add_special: bool = False) -> list[TokenPiece]:
        return await self._engine.tokenize(text, add_special=add_special)

    async def detokenize(self, token_ids: Sequence[int]) -> str:
        return await self._engine.detokenize(token_ids)

    async def stats(self) -> dict[str, Any]:
        return await self._engine.stats()

    async def close(self) -> None:
        await self._engine.close()
