"""One end of the socket between the edge and a worker: frames in, bytes out, and a sense of silence."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Any, Generic, cast

from backends.worker.frames import FrameDecoder, FrameError, Incoming

WRITE_BUFFER_BYTES = 1024 * 1024
"""What may wait for a slow peer before `drain` holds the writers."""


class Connection(asyncio.Protocol, Generic[Incoming]):
    """Calls `on_frame` for each frame and `on_lost` once, with a reason if the peer sent what is no frame."""

    def __init__(
        self, frame_type: Any, *, on_frame: Callable[[Incoming], None], on_lost: Callable[[str | None], None]
    ) -> None:
        self._decoder = FrameDecoder[Incoming](frame_type)
        self._on_frame = on_frame
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._writable = asyncio.Event()
        self._broken: str | None = None
        self._heard = False
        self._sent = False

    async def open(self, sock: socket.socket) -> None:
        """Take over one end of a socket pair; when cancelled, what is written later goes nowhere."""
        with contextlib.ExitStack() as undo:
            undo.callback(self._forget)
            await asyncio.get_running_loop().create_unix_connection(lambda: self, sock=sock)
            undo.pop_all()

    def _forget(self) -> None:
        self._transport = None

    def write(self, data: bytes) -> None:
        """Send encoded frames; silently nothing once the connection is gone (`on_lost` has said so)."""
        if self._transport is not None and not self._transport.is_closing():
            self._sent = True
            self._transport.write(data)

    async def drain(self) -> None:
        """Return when the peer has read enough of what was written, or is gone."""
        await self._writable.wait()

    def take_marks(self) -> tuple[bool, bool]:
        """Whether anything was heard, and sent, since the last call."""
        marks = self._heard, self._sent
        self._heard = self._sent = False
        return marks

    def close(self) -> None:
        """Flush and hang up."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the methods of asyncio.Transport, but not its class.
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(WRITE_BUFFER_BYTES)
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        self._heard = True
        try:
            for frame in self._decoder.feed(data):
                self._on_frame(frame)
        except FrameError as error:
            self._broken = str(error)
            if self._transport is not None:
                self._transport.abort()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - a reset is an end like any other
        self._writable.set()
        self._on_lost(self._broken)


class Silence:
    """Counts intervals without a word. Ticks, not clock times, so that a stopped process does not blame its peer."""

    def __init__(self, limit_s: float, interval_s: float) -> None:
        self._limit = limit_s / interval_s
        self._ticks = 0

    def tick(self, heard: bool) -> bool:
        """Note one interval; true when the silence has lasted for the limit."""
        self._ticks = 0 if heard else self._ticks + 1
        return self._ticks >= self._limit
