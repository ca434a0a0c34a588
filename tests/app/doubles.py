"""An engine that plays a script, and a pool that lends it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from app.experts.supervisor import ExpertStatus
from backends.base import Engine, InvalidRequestError, UnsupportedError
from backends.types import (
    Accepted,
    Capabilities,
    Delta,
    Embedding,
    Event,
    FinishReason,
    GenerationRequest,
    ModelInfo,
    TokenPiece,
    Usage,
)

Step = Event | Exception | float
"""An event to give, an error to raise, or seconds to wait."""

FOREVER = 3600.0

INFO = ModelInfo(
    name="double",
    architecture="none",
    context_window=128,
    trained_context=128,
    kv_cells=128,
    vocab_size=256,
    parameters=0,
    size_bytes=0,
    chat_format="none",
    engine="stub",
    engine_version="1",
)
READY = (ExpertStatus("double", "ready"),)


def says(*texts: str, index: int = 0, finish: FinishReason = "stop", prompt: int = 3, cached: int = 0) -> list[Step]:
    """The script of one choice that says some texts, one token each."""
    end = Delta(index, finish_reason=finish, usage=Usage(prompt, len(texts), cached))
    return [Accepted(prompt, cached), *(Delta(index, text) for text in texts), end]


class ScriptedEngine:
    """Plays one script per request, the last one for all that follow. `running` counts open streams."""

    capabilities = Capabilities()
    info = INFO

    def __init__(self, *scripts: Sequence[Step]) -> None:
        self.requests: list[GenerationRequest] = []
        self.running = 0
        self._scripts: Iterator[Sequence[Step]] = iter(scripts)
        self._script: Sequence[Step] = ()

    async def stream(self, request: GenerationRequest) -> AsyncGenerator[Event]:
        self.requests.append(request)
        self._script = script = next(self._scripts, self._script)
        self.running += 1
        try:
            for step in script:
                if isinstance(step, Exception):
                    raise step
                if isinstance(step, float):
                    await asyncio.sleep(step)
                else:
                    yield step
        finally:
            self.running -= 1

    async def embed(self, inputs: Sequence[Sequence[int] | str], *, dimensions: int | None = None) -> list[Embedding]:
        raise UnsupportedError(f"no embeddings ({len(inputs)} inputs, {dimensions} dimensions)", param="model")

    async def tokenize(self, text: str, *, add_special: bool = False) -> list[TokenPiece]:
        return [TokenPiece(1, b"<s>")] * add_special + [TokenPiece(byte, bytes([byte])) for byte in text.encode()]

    async def detokenize(self, token_ids: Sequence[int]) -> str:
        if max(token_ids, default=0) > 255:
            raise InvalidRequestError("unknown token id", param="tokens")
        return bytes(token_ids).decode(errors="replace")

    async def stats(self) -> dict[str, Any]:
        return {}

    async def close(self) -> None:
        return None


class OnePool:
    """Lends the given engines in turn, the last one from then on; raises those that are errors.

    A lease takes `wait_s`. `leases` counts them all, `leased` those of this moment, `waiting` those not given yet.
    """

    def __init__(
        self,
        *engines: Engine | Exception,
        status: Sequence[ExpertStatus] = READY,
        wait_s: float = 0,
        expert_id: str = "double",
    ) -> None:
        self._engines = list(engines)
        self._status = status
        self._wait_s = wait_s
        self._expert_id = expert_id
        self.waiting = 0
        self.leased = 0
        self.leases = 0

    async def start(self) -> None:
        return None

    @asynccontextmanager
    async def lease(self, expert_id: str) -> AsyncGenerator[Engine]:
        assert expert_id == self._expert_id
        engine = self._engines.pop(0) if len(self._engines) > 1 else self._engines[0]
        if isinstance(engine, Exception):
            raise engine
        self.waiting += 1
        try:
            await asyncio.sleep(self._wait_s)
        finally:
            self.waiting -= 1
        self.leased += 1
        self.leases += 1
        try:
            yield engine
        finally:
            self.leased -= 1

    def status(self) -> Sequence[ExpertStatus]:
        return self._status

    def peek(self, expert_id: str) -> Engine | None:
        [state] = [status.state for status in self._status if status.id == expert_id]
        engine = self._engines[0]
        return engine if state == "ready" and not isinstance(engine, Exception) else None

    async def close(self) -> None:
        return None
