"""An answer on its way to the client: one path for plain ones and streams.

The status line waits for the first bytes of the answer, so a failure before them is a status and a body. After them
it is an `error` event. While a stream has nothing to say, comments keep its connection alive. As soon as the client
leaves, the items' iterator is closed, which aborts the generation.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from starlette.types import Receive, Scope, Send

from app.api.sse import PING, error_event
from app.errors import INTERNAL, row
from backends.base import EngineClosedError

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
Incoming = TypeVar("Incoming", contravariant=True)

STREAM_HEADERS = ((b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no"))


@dataclass(frozen=True, slots=True)
class Patience:
    """Longest silences of a stream in seconds: before its headers, and between bytes after them."""

    headers_s: float
    bytes_s: float = 15.0


class Encoder(Protocol[Incoming]):
    """Turns items into bytes: those of a plain answer come at the end, those of a stream as they are known."""

    media_type: bytes
    streams: bool

    def feed(self, item: Incoming) -> bytes:
        """The bytes that one item adds."""
        ...

    def flush(self) -> bytes:
        """The bytes after the last item."""
        ...


@dataclass(slots=True)
class Connection:
    """The sending half: opens with the first bytes and remembers when it last said something."""

    send: Send
    headers: list[tuple[bytes, bytes]]
    request_id: str = "-"
    opened: bool = False
    complete: bool = False
    spoke_at: float = field(default_factory=time.monotonic)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def write(self, data: bytes, *, last: bool = False) -> None:
        """Send bytes, and the status line before the first ones. Answer and comments come from two tasks, in turn."""
        self.spoke_at = time.monotonic()
        async with self._turn:
            if self.complete:  # a comment that waited behind the last bytes, for a client that reads slowly
                return
            if not self.opened:
                self.opened = True
                length = [(b"content-length", b"%d" % len(data))] if last else []
                await self.send({"type": "http.response.start", "status": 200, "headers": [*self.headers, *length]})
            await self.send({"type": "http.response.body", "body": data, "more_body": not last})
            self.complete = last


class Reply(Generic[Item]):
    """The answer as an ASGI application, as Starlette's responses are."""

    def __init__(
        self,
        items: AsyncGenerator[Item],
        encoder: Encoder[Item],
        patience: Patience,
        ignored: Sequence[str] = (),
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        self._items = items
        self._encoder = encoder
        self._patience = patience
        self._ignored = ignored
        self._headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer, until it is complete or the client has left."""
        connection = Connection(send, self._raw_headers(), scope.get("state", {}).get("request_id", "-"))
        work = asyncio.create_task(self._produce(connection))
        watch = asyncio.create_task(self._attend(connection, receive))
        try:
            await asyncio.wait((work, watch), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:  # only a server that shuts down cancels a request
            await _stop(work, watch)
            await self._fail(connection, EngineClosedError("The server is shutting down"))
        finally:
            await _stop(work, watch)
        for task in (work, watch):
            if not task.cancelled():
                task.result()

    async def _produce(self, connection: Connection) -> None:
        try:
            async with aclosing(self._items) as items:
                async for item in items:
                    if data := self._encoder.feed(item):
                        await connection.write(data)
            await connection.write(self._encoder.flush(), last=True)
        except Exception as error:  # noqa: BLE001 - the outermost handler of an answer: it never ends in silence
            await self._fail(connection, error)

    async def _attend(self, connection: Connection, receive: Receive) -> None:
        """Returns when the client has left; keeps a silent stream alive until then."""
        while True:
            try:
                async with asyncio.timeout(self._silence_left(connection)):
                    if (await receive())["type"] == "http.disconnect":
                        return
            except TimeoutError:
                if self._silence_left(connection) == 0:
                    await connection.write(PING)

    def _silence_left(self, connection: Connection) -> float | None:
        if not self._encoder.streams:
            return None
        allowed = self._patience.bytes_s if connection.opened else self._patience.headers_s
        return max(0.0, connection.spoke_at + allowed - time.monotonic())

    async def _fail(self, connection: Connection, error: Exception) -> None:
        if not connection.opened:
            raise error
        # The access log says 200 by now, so this line is the only one that tells of the failure.
        unexpected = error if row(error) is INTERNAL else None
        logger.warning("stream %s ends with an error: %r", connection.request_id, error, exc_info=unexpected)
        await connection.write(error_event(error), last=True)

    def _raw_headers(self) -> list[tuple[bytes, bytes]]:
        found = [(b"content-type", self._encoder.media_type)]
        found += STREAM_HEADERS if self._encoder.streams else ()
        found += [(b"x-jarvis-ignored", ", ".join(self._ignored).encode())] if self._ignored else ()
        return [*found, *self._headers]


async def _stop(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
