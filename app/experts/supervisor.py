"""One expert's life: load its engine, watch it, start it again, give up when that is pointless."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import monotonic
from typing import Literal

from app.experts.catalog import Expert
from app.experts.policy import RestartPolicy, after_crash, load_retry_after
from backends.base import (
    Engine,
    EngineClosedError,
    EngineCrashedError,
    EngineError,
    ModelLoadingError,
    ModelUnavailableError,
    SupervisedEngine,
)
from backends.types import ModelInfo

State = Literal["loading", "ready", "restarting", "failed"]
Launcher = Callable[[Expert, Callable[[float], None]], Awaitable[SupervisedEngine]]
"""Starts an expert's engine and returns it loaded; the callback takes the fraction that is loaded."""

LOOK_S = 1.0
"""A failed expert's files are looked at no more often than this."""

_KEPT_CRASHES = 16

log = logging.getLogger("jarvis.experts")


@dataclass(frozen=True, slots=True)
class ExpertStatus:
    """How an expert is. `reason` says why it is not ready, `progress` is the fraction loaded while it loads.

    `requests` counts those that run on it or wait for it.
    """

    id: str
    state: State
    reason: str | None = None
    progress: float | None = None
    info: ModelInfo | None = None
    requests: int = 0


class Supervisor:
    """Owns one expert's engine. One task leads its life; requests only wait for what that task brings about."""

    def __init__(self, expert: Expert, launch: Launcher, load_wait_s: float, policy: RestartPolicy) -> None:
        self._expert = expert
        self._launch = launch
        self._load_wait_s = load_wait_s
        self._policy = policy
        self._engine: SupervisedEngine | None = None
        self._status = ExpertStatus(expert.id, "loading")
        self._settled = asyncio.Event()  # the state is ready or failed, or there is no more life to lead
        self._file_changed = asyncio.Event()
        self._files = self._signatures()
        self._next_look = 0.0
        self._load_began = 0.0
        self._retry_at: float | None = None
        self._crashes: deque[float] = deque(maxlen=_KEPT_CRASHES)
        self._life: asyncio.Task[None] | None = None
        self._closed = False

    def start(self) -> None:
        """Begin to load."""
        self._life = asyncio.create_task(self._live(), name=f"expert {self._expert.id}")
        self._life.add_done_callback(self._over)

    def status(self) -> ExpertStatus:
        """How the expert is, now."""
        self._notice_failure()
        return self._status

    def loaded(self) -> Engine | None:
        """The engine if it is ready, without waiting for it or beginning anything."""
        self._notice_failure()
        return self._engine

    async def engine(self) -> Engine:
        """The loaded engine.

        Raises:
            ModelLoadingError: it is not there after `load_wait_s` seconds.
            ModelUnavailableError: it cannot be loaded until somebody changes something.
            EngineCrashedError: it crashed too often to be tried again just now.
            EngineClosedError: the expert is closed.
        """
        self._notice_failure()
        self._notice_new_file()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._load_wait_s):
                while not self._settled.is_set():  # again when the state has changed before this task runs
                    await self._settled.wait()
        if self._engine is None:
            raise self._refusal()
        return self._engine

    async def close(self) -> None:
        """End the engine and the waiting; every caller returns when the engine is gone."""
        if not self._closed:
            self._closed, self._engine = True, None
            self._become("failed", "the server is shutting down")
            if self._life is not None:
                self._life.cancel()  # once: a second time would interrupt the end of the engine
        if self._life is not None:
            await asyncio.wait([self._life])

    async def _live(self) -> None:
        while True:
            try:
                await self._load_and_watch()
            except ModelUnavailableError as error:
                log.error("expert '%s' cannot be served: %s", self._expert.id, error.message)
                self._become("failed", error.message)
                await self._file_changed.wait()
            except EngineError as error:
                await self._back_off(error)

    async def _load_and_watch(self) -> None:
        """Load the engine and stay with it to its end, which is raised."""
        self._load_began = monotonic()
        self._file_changed.clear()
        self._files = self._signatures()
        engine = await self._launch(self._expert, self._progressed)
        try:
            self._engine = engine
            self._become("ready")
            log.info("expert '%s' is ready after %.1f s", self._expert.id, monotonic() - self._load_began)
            raise await engine.wait_closed()
        finally:
            self._withdraw("the engine has ended")
            await engine.close()

    async def _back_off(self, error: EngineError) -> None:
        now = monotonic()
        self._crashes.append(now)
        restart = after_crash(list(self._crashes), now, self._policy)
        log.error("expert '%s': %s; next start in %g s", self._expert.id, error.message, restart.delay_s)
        if restart.broken:
            self._retry_at = now + restart.delay_s
        self._become("failed" if restart.broken else "restarting", error.message)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._file_changed.wait(), restart.delay_s)
        self._retry_at = None
        self._become("restarting", error.message)

    def _become(self, state: State, reason: str | None = None) -> None:
        info = self._engine.info if self._engine is not None else None
        self._status = ExpertStatus(self._expert.id, state, reason, None, info)
        if state in ("ready", "failed"):
            self._settled.set()
        else:
            self._settled.clear()

    def _progressed(self, fraction: float) -> None:
        if self._engine is None and self._status.state in ("loading", "restarting"):
            self._status = ExpertStatus(self._expert.id, self._status.state, self._status.reason, fraction)

    def _notice_failure(self) -> None:
        """A request that lost its engine may be back before the life task has seen the end of it."""
        if self._engine is not None and (failure := self._engine.failure) is not None:
            self._withdraw(failure.message)

    def _withdraw(self, reason: str) -> None:
        """Lend the engine to nobody any more."""
        if self._engine is not None:
            self._engine = None
            self._become("restarting", reason)

    def _notice_new_file(self) -> None:
        """Load again when a file of a failed expert has changed, so that whoever mends it need not restart."""
        now = monotonic()
        if self._status.state != "failed" or self._closed or now < self._next_look:
            return
        self._next_look = now + LOOK_S
        if self._signatures() != self._files:
            self._become("loading")
            self._file_changed.set()

    def _signatures(self) -> list[tuple[int, int, int] | None]:
        config = self._expert.config
        return [file_signature(path) for path in (config.model, *config.adapters.values())]

    def _refusal(self) -> EngineError:
        """Why there is no engine, as an error of its own for every request."""
        name, reason, now = self._expert.id, self._status.reason, monotonic()
        if self._closed:
            return EngineClosedError("the server is shutting down")
        if self._status.state != "failed":
            wait_s = load_retry_after(now - self._load_began, self._status.progress)
            return ModelLoadingError(f"the model '{name}' is still being loaded", retry_after_s=wait_s)
        if self._retry_at is None:
            return ModelUnavailableError(f"the model '{name}' cannot be served: {reason}")
        message = f"the model '{name}' crashed repeatedly and rests: {reason}"
        return EngineCrashedError(message, retry_after_s=max(1.0, self._retry_at - now))

    def _over(self, life: asyncio.Task[None]) -> None:
        """The life task ends when it is cancelled; anything else is a defect that must not look like loading."""
        if not life.cancelled() and (error := life.exception()) is not None:
            log.critical("expert '%s' is given up", self._expert.id, exc_info=error)
            self._become("failed", f"internal error ({type(error).__name__})")


def file_signature(path: str) -> tuple[int, int, int] | None:
    """What changes when a file is replaced or edited; `None` if there is no such file."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
