"""A launcher that follows a script."""

import asyncio
from collections.abc import Callable

from app.experts.catalog import Expert
from backends.base import EngineClosedError, EngineCrashedError, EngineError
from backends.stub_backend import StubEngine
from backends.types import EngineConfig


def expert(name: str = "m", model: str = "/nonexistent") -> Expert:
    return Expert(name, EngineConfig(engine="stub", model=model, alias=name, cache_dir=""))


class MortalEngine(StubEngine):
    """A stub that crashes when told to, and takes its time to close."""

    farewell_s = 0.0

    def __init__(self, config: EngineConfig) -> None:
        super().__init__(config)
        self._end: asyncio.Future[EngineError] = asyncio.get_running_loop().create_future()
        self.closed = False

    def crash(self) -> None:
        self._end.set_result(EngineCrashedError("crashed"))

    @property
    def failure(self) -> EngineError | None:
        return self._end.result() if self._end.done() else None

    async def wait_closed(self) -> EngineError:
        return await asyncio.shield(self._end)

    async def close(self) -> None:
        await asyncio.sleep(self.farewell_s)
        self.closed = True
        if not self._end.done():
            self._end.set_result(EngineClosedError("closed"))


class Launches:
    """Each launch takes the next outcome of the script: seconds until it is loaded, or an error. Then 0 seconds."""

    def __init__(self, *script: float | EngineError) -> None:
        self._script = list(script)
        self.count = 0
        self.engines: list[MortalEngine] = []
        self.cancelled = 0

    async def __call__(self, expert: Expert, progress: Callable[[float], None]) -> MortalEngine:
        self.count += 1
        outcome = self._script.pop(0) if self._script else 0.0
        if isinstance(outcome, EngineError):
            raise outcome
        progress(0.5)
        try:
            await asyncio.sleep(outcome)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        self.engines.append(MortalEngine(expert.config))
        return self.engines[-1]
