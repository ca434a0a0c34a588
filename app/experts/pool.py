"""The pool: the single owner of loaded engines. Whoever needs one leases it here and nowhere else."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from app.experts.catalog import Catalog, Expert
from app.experts.policy import RestartPolicy
from app.experts.supervisor import ExpertStatus, Launcher, Supervisor
from backends.base import CapacityError, Engine, SupervisedEngine
from backends.types import EngineName

if TYPE_CHECKING:
    from app.settings import Settings

__all__ = ["EnginePool", "ExpertStatus", "Launcher", "PoolLimits", "worker_launcher"]

_FULL_RETRY_S = 1.0


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """How long a request waits for a model to load, and how many may lease one expert at once, waiting included."""

    load_wait_s: float = 120.0
    max_active: int = 512
    restart: RestartPolicy = RestartPolicy()


class EnginePool:
    """One supervised engine per expert, lent to requests."""

    def __init__(self, experts: Sequence[Expert], launch: Launcher, limits: PoolLimits) -> None:
        self._limits = limits
        self._active: Counter[str] = Counter()
        self._supervisors = {
            expert.id: Supervisor(expert, launch, limits.load_wait_s, limits.restart) for expert in experts
        }

    @classmethod
    def from_settings(cls, settings: Settings, catalog: Catalog) -> Self:
        """The pool of a server: every expert of the catalog in a worker process of its own."""
        limits = PoolLimits(settings.limits.load_wait_s, settings.limits.max_queue)
        launchers: dict[EngineName, Launcher] = {
            engine: worker_launcher(settings.interpreter(engine), settings.worker_environment(engine=engine))
            for engine in {expert.config.engine for expert in catalog.experts}
            if engine != "static"
        }

        async def launch(expert: Expert, progress: Callable[[float], None]) -> SupervisedEngine:
            engine = expert.config.engine
            return await (launch_static if engine == "static" else launchers[engine])(expert, progress)

        return cls(catalog.experts, launch, limits)

    async def start(self) -> None:
        """Begin to load every expert, and return at once."""
        for supervisor in self._supervisors.values():
            supervisor.start()

    @asynccontextmanager
    async def lease(self, expert_id: str) -> AsyncGenerator[Engine]:
        """The expert's engine for the time of one request; waits while it is loaded or restarted.

        Raises:
            CapacityError: at once, when too many requests run or wait already.
            ModelLoadingError: the model is not there after `load_wait_s`.
            ModelUnavailableError: at once, when the model cannot be loaded until somebody changes something.
            EngineCrashedError: at once, when the engine crashed too often to be tried again just now.
            EngineClosedError: the pool is closed.
        """
        if self._active[expert_id] >= self._limits.max_active:
            raise CapacityError(
                f"{self._limits.max_active} requests are running or waiting; there is no room for more",
                retry_after_s=_FULL_RETRY_S,
            )
        self._active[expert_id] += 1
        try:
            yield await self._supervisors[expert_id].engine()
        finally:
            self._active[expert_id] -= 1

    def status(self) -> list[ExpertStatus]:
        """How each expert is, in the order of the catalog."""
        return [replace(found.status(), requests=self._active[id]) for id, found in self._supervisors.items()]

    def peek(self, expert_id: str) -> Engine | None:
        """The expert's engine if it is ready, to be looked at: nothing is counted, waited for or begun."""
        return self._supervisors[expert_id].loaded()

    async def close(self) -> None:
        """End all engines; waiting requests get `EngineClosedError`."""
        await asyncio.gather(*(supervisor.close() for supervisor in self._supervisors.values()))


def worker_launcher(python: str, environment: Mapping[str, str]) -> Launcher:
    """Launches experts in worker processes that run `python` and see `environment` and nothing else."""

    async def launch_worker(expert: Expert, progress: Callable[[float], None]) -> SupervisedEngine:
        from backends.worker.client import launch

        return await launch(expert.config, python=python, environment=environment, on_progress=progress)

    return launch_worker


async def launch_static(expert: Expert, progress: Callable[[float], None]) -> SupervisedEngine:
    """The embedding that ships, in this process."""
    from app.embedding.engine import launch

    progress(0.0)
    return await launch(expert.id)
