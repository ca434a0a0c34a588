"""The edge's side of a worker: starts one, and speaks to it as an `Engine`."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from itertools import count
from typing import Any

import msgspec

from backends.base import (
    EngineClosedError,
    EngineCrashedError,
    EngineError,
    EngineTimeoutError,
    InvalidRequestError,
)
from backends.types import Capabilities, Embedding, EngineConfig, Event, GenerationRequest, ModelInfo, TokenPiece
from backends.worker import frames
from backends.worker.connection import Connection, Silence
from backends.worker.frames import ErrorInfo, StreamEvent
from backends.worker.process import WorkerProcess

_RESTART_S = 1.0
"""`Retry-After` of a request that lost its worker: the pool restarts it about as fast."""


@dataclass(frozen=True)
class WorkerLimits:
    """How long an edge waits for a worker, in seconds."""

    ping_s: float = 1.0
    hang_s: float = 30.0
    """Silence of a loaded worker after which it counts as hung."""
    hang_grace_s: float = 5.0
    """From SIGTERM to SIGKILL for one that hangs."""
    close_s: float = 3.0
    """For a worker that was asked to leave, before SIGTERM."""
    close_grace_s: float = 1.0
    crash_s: float = 0.5
    """For a worker whose socket is gone to be reaped, before SIGTERM."""


@dataclass(frozen=True)
class _Ending:
    """Why and how a worker ends; without a cause the process's exit code will tell."""

    patience_s: float
    grace_s: float
    cause: EngineError | None = None


async def launch(
    config: EngineConfig,
    *,
    python: str,
    environment: Mapping[str, str],
    on_progress: Callable[[float], None] | None = None,
    limits: WorkerLimits | None = None,
) -> WorkerEngine:
    """Start a worker and return it when its model is loaded; `environment` is all that it gets to see.

    Cancelling the caller ends the worker.

    Raises:
        ModelUnavailableError: the model or the interpreter cannot be used as things are.
        EngineCrashedError: the worker died while it loaded.
    """
    ours, theirs = socket.socketpair()
    async with AsyncExitStack() as undo:
        with theirs:
            undo.callback(ours.close)
            process = await WorkerProcess.spawn(
                config.alias, python=python, environment=environment, descriptor=theirs.fileno()
            )
        worker = WorkerEngine(config.alias, process, limits or WorkerLimits())
        undo.push_async_callback(worker.close)
        await worker.load(ours, config, on_progress)
        undo.pop_all()
    return worker


class WorkerEngine:
    """A loaded worker; fulfils `backends.base.SupervisedEngine`."""

    def __init__(self, name: str, process: WorkerProcess, limits: WorkerLimits) -> None:
        loop = asyncio.get_running_loop()
        self.pid = process.pid
        self._name = name
        self._process = process
        self._limits = limits
        self._connection = Connection[frames.WorkerFrame](
            frames.WorkerFrame, on_frame=self._received, on_lost=self._lost
        )
        self._on_progress: Callable[[float], None] = lambda _fraction: None
        self._numbers = count(1)
        self._streams: dict[int, asyncio.Queue[StreamEvent | ErrorInfo | None]] = {}
        self._calls: dict[int, asyncio.Future[frames.Reply | ErrorInfo]] = {}
        self._loaded: asyncio.Future[frames.Ready | ErrorInfo] = loop.create_future()
        self._ready: frames.Ready | None = None
        self._failure: ErrorInfo | None = None
        self._ending: asyncio.Future[_Ending] = loop.create_future()
        self._life = loop.create_task(self._live())

    async def load(
        self, sock: socket.socket, config: EngineConfig, on_progress: Callable[[float], None] | None
    ) -> None:
        """Configure the new worker over `sock` and wait for its model; once, before anything else."""
        self._on_progress = on_progress or self._on_progress
        await self._connection.open(sock)
        self._send(frames.Configure(config))
        loaded = await self._loaded
        if isinstance(loaded, ErrorInfo):
            raise loaded.rebuild()
        self._ready = loaded

    @property
    def capabilities(self) -> Capabilities:
        return self._valid().capabilities

    @property
    def info(self) -> ModelInfo:
        return self._valid().info

    def stream(self, request: GenerationRequest) -> AsyncGenerator[Event]:
        number = next(self._numbers)
        return self._read(number, frames.Generate(number, request))

    async def _read(self, number: int, opening: frames.Generate | frames.Embed) -> AsyncGenerator[Any]:
        """Send `opening` and give what stream `number` brings; closing the iterator aborts the stream."""
        self._send(opening)
        inbox = self._streams[number] = asyncio.Queue()
        try:
            while (item := await inbox.get()) is not None:
                if isinstance(item, ErrorInfo):
                    raise item.rebuild()
                yield item
        finally:
            if self._streams.pop(number, None) is not None:
                self._connection.write(frames.encode(frames.Abort(number)))

    async def embed(self, inputs: Sequence[Sequence[int] | str], *, dimensions: int | None = None) -> list[Embedding]:
        number = next(self._numbers)
        texts_or_ids = tuple(item if isinstance(item, str) else tuple(item) for item in inputs)
        async with aclosing(self._read(number, frames.Embed(number, texts_or_ids, dimensions))) as vectors:
            return [vector async for vector in vectors]

    async def tokenize(self, text: str, *, add_special: bool = False) -> list[TokenPiece]:
        pieces: list[TokenPiece] = await self._call(frames.Tokenize(text, add_special))
        return pieces

    async def detokenize(self, token_ids: Sequence[int]) -> str:
        text: str = await self._call(frames.Detokenize(tuple(token_ids)))
        return text

    async def stats(self) -> dict[str, Any]:
        counters: dict[str, Any] = await self._call(frames.Stats())
        return counters

    async def close(self) -> None:
        """End the worker and everything that it started, within `close_s + close_grace_s` and a moment."""
        if not self._ending.done():
            self._connection.write(frames.encode(frames.Close()))
            self._end(
                _Ending(self._limits.close_s, self._limits.close_grace_s, EngineClosedError("the engine is closed"))
            )
        await self.wait_closed()

    @property
    def failure(self) -> EngineError | None:
        return self._failure.rebuild() if self._failure is not None else None

    async def wait_closed(self) -> EngineError:
        """Return, when the process is gone, why it went."""
        await asyncio.shield(self._life)
        assert self._failure is not None
        return self._failure.rebuild()

    async def _live(self) -> None:
        """Wait for the first sign of the end, see the process off, and tell everybody who waits for the worker."""
        exited = asyncio.create_task(self._process.wait())
        heartbeat = asyncio.create_task(self._beat())
        signs: set[asyncio.Future[Any]] = {exited, self._ending}
        await asyncio.wait(signs, return_when=asyncio.FIRST_COMPLETED)
        heartbeat.cancel()
        self._end(_Ending(0.0, 0.0))
        ending = self._ending.result()
        if ending.cause is not None:
            self._fail(ending.cause)
        await self._process.stop(ending.patience_s, ending.grace_s)
        await exited
        self._fail(self._crash())
        self._connection.close()

    async def _beat(self) -> None:
        """Ping whenever one side had nothing to say, and end a loaded worker that does not answer.

        Loading may hold the worker's event loop for as long as it takes.
        """
        silence = Silence(self._limits.hang_s, self._limits.ping_s)
        while True:
            await asyncio.sleep(self._limits.ping_s)
            marks = self._connection.take_marks()
            if not all(marks):
                self._connection.write(frames.encode(frames.Ping()))
            if silence.tick(heard=marks[0] or self._ready is None):
                error = EngineTimeoutError(
                    f"the engine of '{self._name}' gave no sign of life for {self._limits.hang_s:g} s"
                )
                self._end(_Ending(0.0, self._limits.hang_grace_s, error))

    def _received(self, frame: frames.WorkerFrame) -> None:
        match frame:
            case frames.Events(events):
                for number, event in events:
                    self._deliver(number, event)
            case frames.Done(number):
                self._finish(number, None)
            case frames.Failed(number, error):
                self._finish(number, error)
            case frames.Reply(number):
                _resolve(self._calls.pop(number, None), frame)
            case frames.Progress(fraction):
                self._on_progress(fraction)
            case frames.Ready():
                _resolve(self._loaded, frame)
            case frames.Fatal(error):
                self._end(_Ending(self._limits.close_s, self._limits.close_grace_s, error.rebuild()))
            case frames.Pong():
                pass

    def _deliver(self, number: int, event: StreamEvent) -> None:
        # A stream that was aborted a moment ago may still have events on the way.
        if (inbox := self._streams.get(number)) is not None:
            inbox.put_nowait(event)

    def _finish(self, number: int, item: ErrorInfo | None) -> None:
        if (inbox := self._streams.pop(number, None)) is not None:
            inbox.put_nowait(item)

    def _lost(self, reason: str | None) -> None:
        cause = EngineCrashedError(f"the engine of '{self._name}' spoke nonsense: {reason}") if reason else None
        self._end(_Ending(self._limits.crash_s, self._limits.crash_s, cause))

    def _end(self, ending: _Ending) -> None:
        if not self._ending.done():
            self._ending.set_result(ending)

    def _crash(self) -> EngineError:
        message = f"the engine process of '{self._name}' {self._process.exit_reason}"
        if self._ready is None and (lines := self._process.last_lines):
            message = f"{message} while it loaded; its last words:\n{lines}"
        return EngineCrashedError(message, retry_after_s=_RESTART_S)

    def _fail(self, error: EngineError) -> None:
        """Give `error` to everybody who waits for the worker now or asks it later; the first one stays."""
        if self._failure is not None:
            return
        self._failure = failure = ErrorInfo.of(error)
        for number in list(self._streams):
            self._finish(number, failure)
        for waiting in self._calls.values():
            _resolve(waiting, failure)
        _resolve(self._loaded, failure)
        self._calls.clear()

    def _valid(self) -> frames.Ready:
        assert self._ready is not None, "the worker is not loaded"
        return self._ready

    def _send(self, frame: frames.EdgeFrame) -> None:
        if self._failure is not None:
            raise self._failure.rebuild()
        try:
            self._connection.write(frames.encode(frame))
        except frames.FrameError as error:
            raise InvalidRequestError(f"the request cannot be sent to the engine: {error}") from error

    async def _call(self, operation: frames.Operation) -> Any:
        number = next(self._numbers)
        self._send(frames.Call(number, operation))
        waiting = self._calls[number] = asyncio.get_running_loop().create_future()
        try:
            reply = await waiting
        finally:
            self._calls.pop(number, None)
        error = reply if isinstance(reply, ErrorInfo) else reply.error
        if error is not None:
            raise error.rebuild()
        assert isinstance(reply, frames.Reply)
        return msgspec.msgpack.decode(reply.value, type=frames.REPLY_TYPES[type(operation)])


def _resolve(future: asyncio.Future[Any] | None, value: Any) -> None:
    if future is not None and not future.done():
        future.set_result(value)
