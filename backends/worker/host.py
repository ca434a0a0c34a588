"""The worker's side: holds one engine, runs one task per stream, and sends each step's events in one frame."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from functools import partial
from time import monotonic
from typing import Any

import msgspec

from backends.base import Engine, EngineError, EngineTimeoutError, InvalidRequestError
from backends.gguf_backend import GGUFClient
from backends.process_memory import resident_bytes
from backends.types import Embedding, EngineConfig
from backends.worker import frames
from backends.worker.connection import Connection, Silence
from backends.worker.frames import ErrorInfo, StreamEvent
from backends.worker.lifeline import end_group

EDGE_SILENCE_S = 5.0
"""An edge pings every second; after this long without a word its requests are aborted."""

_PROGRESS_STEP = 0.01
_VECTORS_PER_TURN = 64
_BEGAN_S = monotonic()

log = logging.getLogger("backends.worker")


class Outbox:
    """What this turn of the event loop produced; it leaves as one write in the next.

    An engine hands out a whole step at once, so all of its events land in one frame.
    """

    def __init__(self, write: Callable[[bytes], None], abort: Callable[[int], None]) -> None:
        self._write = write
        self._abort = abort
        self._events: list[tuple[int, StreamEvent]] = []
        self._frames: list[bytes] = []
        self._scheduled = False

    def event(self, stream: int, event: StreamEvent) -> None:
        """Queue an event; it leaves before any frame of the same turn."""
        self._events.append((stream, event))
        self._schedule()

    def frame(self, frame: frames.WorkerFrame) -> None:
        """Queue a frame. Raises `FrameError` if it is over the cap."""
        self._frames.append(frames.encode(frame))
        self._schedule()

    def flush(self) -> None:
        """Write what is queued."""
        self._scheduled = False
        (events, self._events), (others, self._frames) = (self._events, []), (self._frames, [])
        self._write(b"".join([*self._encode(events), *others]))

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self.flush)

    def _encode(self, events: list[tuple[int, StreamEvent]]) -> Iterator[bytes]:
        """One frame if the cap allows, else as many as it takes; a single event over the cap fails its stream."""
        if not events:
            return
        try:
            yield frames.encode(frames.Events(events))
        except frames.FrameError as error:
            middle = len(events) // 2
            if middle:
                yield from self._encode(events[:middle])
                yield from self._encode(events[middle:])
                return
            stream = events[0][0]
            self._abort(stream)
            yield frames.encode(frames.Failed(stream, ErrorInfo.of(EngineError(f"an event is too large: {error}"))))


class Host:
    """Serves one edge over one socket with one engine."""

    def __init__(self, edge_silence_s: float = EDGE_SILENCE_S, tick_s: float = 1.0) -> None:
        self._tick_s = tick_s
        self._edge_silence_s = edge_silence_s
        self._connection = Connection[frames.EdgeFrame](
            frames.EdgeFrame, on_frame=self._received, on_lost=self._edge_is_gone
        )
        self._outbox = Outbox(self._connection.write, self._abort)
        self._streams: dict[int, asyncio.Task[None]] = {}
        self._calls: set[asyncio.Task[None]] = set()
        self._configured: asyncio.Future[EngineConfig] = asyncio.get_running_loop().create_future()
        self._engine: Engine | None = None
        self._leaving = asyncio.Event()

    async def serve(self, sock: socket.socket) -> None:
        """Load the engine that the edge asks for and serve it until `Close`; the edge's death ends the process."""
        await self._connection.open(sock)
        engine = await self._load(await self._configured)
        if engine is not None:
            silence = asyncio.create_task(self._mind_silence())
            await self._leaving.wait()
            silence.cancel()
            await self._abort_all()
            await engine.close()
        self._outbox.flush()
        self._leaving.set()
        self._connection.close()

    async def _load(self, config: EngineConfig) -> Engine | None:
        logging.basicConfig(level=config.log_level.upper(), stream=sys.stderr)
        try:
            engine = GGUFClient(config)
            await engine.start(self._progress())
        except EngineError as error:
            self._outbox.frame(frames.Fatal(ErrorInfo.of(error)))
            return None
        self._engine = engine
        self._outbox.frame(frames.Ready(engine.info, engine.capabilities))
        return engine

    def _progress(self) -> Callable[[float], None]:
        """A callback for any thread; engines report every tensor, the edge wants to hear of whole per cents."""
        loop, last = asyncio.get_running_loop(), -1.0

        def report(fraction: float) -> None:
            nonlocal last
            if fraction - last >= _PROGRESS_STEP:
                last = fraction
                loop.call_soon_threadsafe(self._outbox.frame, frames.Progress(fraction))

        return report

    def _received(self, frame: frames.EdgeFrame) -> None:
        match frame:
            case frames.Ping():
                self._outbox.frame(frames.Pong())
            case frames.Configure(config) if not self._configured.done():
                self._configured.set_result(config)
            case frames.Generate(stream, request) if self._engine is not None:
                self._open(stream, self._engine.stream(request))
            case frames.Embed(stream, inputs, dimensions) if self._engine is not None:
                self._open(stream, _vectors(self._engine, inputs, dimensions))
            case frames.Call(call, operation) if self._engine is not None:
                task = asyncio.create_task(self._answer(self._engine, call, operation))
                self._calls.add(task)
                task.add_done_callback(partial(self._call_ended, call))
            case frames.Abort(stream):
                self._abort(stream)
            case frames.Close() if self._engine is not None:
                self._leaving.set()
            case frames.Close():
                # A native load cannot be interrupted, and nothing is worth keeping yet.
                end_group()
            case _:
                raise frames.FrameError(f"{type(frame).__name__} was not expected now")

    def _open(self, stream: int, source: AsyncGenerator[StreamEvent]) -> None:
        task = asyncio.create_task(self._forward(stream, source))
        self._streams[stream] = task
        task.add_done_callback(partial(self._stream_ended, stream))

    async def _forward(self, stream: int, source: AsyncGenerator[StreamEvent]) -> None:
        try:
            async with aclosing(source) as events:
                async for event in events:
                    self._outbox.event(stream, event)
                    await self._connection.drain()
        except EngineError as error:
            self._outbox.frame(frames.Failed(stream, ErrorInfo.of(error)))
        else:
            self._outbox.frame(frames.Done(stream))

    def _stream_ended(self, stream: int, task: asyncio.Task[None]) -> None:
        self._streams.pop(stream, None)
        if (error := _defect(task)) is not None:
            self._outbox.frame(frames.Failed(stream, error))

    async def _answer(self, engine: Engine, call: int, operation: frames.Operation) -> None:
        try:
            value = msgspec.Raw(msgspec.msgpack.encode(await _perform(engine, operation)))
            self._outbox.frame(frames.Reply(call, value))
        except EngineError as error:
            self._outbox.frame(frames.Reply(call, frames.NO_VALUE, ErrorInfo.of(error)))
        except frames.FrameError as error:
            too_large = InvalidRequestError(f"the answer is too large: {error}")
            self._outbox.frame(frames.Reply(call, frames.NO_VALUE, ErrorInfo.of(too_large)))

    def _call_ended(self, call: int, task: asyncio.Task[None]) -> None:
        self._calls.discard(task)
        if (error := _defect(task)) is not None:
            self._outbox.frame(frames.Reply(call, frames.NO_VALUE, error))

    def _abort(self, stream: int) -> None:
        if (task := self._streams.pop(stream, None)) is not None:
            task.cancel()

    async def _abort_all(self) -> None:
        tasks = [*self._streams.values(), *self._calls]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _mind_silence(self) -> None:
        """Abort what the edge asked for when it has said nothing for too long; it may be stopped, or hang."""
        silence = Silence(self._edge_silence_s, self._tick_s)
        while True:
            await asyncio.sleep(self._tick_s)
            heard, _ = self._connection.take_marks()
            if silence.tick(heard) and self._streams:
                error = EngineTimeoutError(f"aborted: the edge gave no sign of life for {self._edge_silence_s:g} s")
                for stream in list(self._streams):
                    self._abort(stream)
                    self._outbox.frame(frames.Failed(stream, ErrorInfo.of(error)))

    def _edge_is_gone(self, reason: str | None) -> None:
        if self._leaving.is_set():
            return
        if reason is not None:
            log.error("the connection to the edge broke: %s", reason)
        end_group()


async def _vectors(
    engine: Engine, inputs: Sequence[Sequence[int] | str], dimensions: int | None
) -> AsyncGenerator[Embedding]:
    for number, embedding in enumerate(await engine.embed(inputs, dimensions=dimensions), 1):
        yield embedding
        if number % _VECTORS_PER_TURN == 0:
            await asyncio.sleep(0)  # what is there leaves in a frame, and others get their turn


def _defect(task: asyncio.Task[None]) -> ErrorInfo | None:
    """What an engine's bug leaves of a task: logged here, told to the client without details."""
    if task.cancelled() or (error := task.exception()) is None:
        return None
    log.error("internal error of the engine", exc_info=error)
    return ErrorInfo.of(EngineError(f"internal error of the engine ({type(error).__name__})"))


def _process() -> dict[str, Any]:
    """What this worker is to the machine."""
    return {"pid": os.getpid(), "rss_bytes": resident_bytes(), "uptime_s": round(monotonic() - _BEGAN_S, 3)}


async def _perform(engine: Engine, operation: frames.Operation) -> Any:
    match operation:
        case frames.Tokenize(text, add_special):
            return await engine.tokenize(text, add_special=add_special)
        case frames.Detokenize(token_ids):
            return await engine.detokenize(token_ids)
        case frames.Stats():
            return {**await engine.stats(), "process": _process()}
