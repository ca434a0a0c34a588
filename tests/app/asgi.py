"""A client that speaks ASGI to the application directly: sees each chunk as it is sent, and can leave at any time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import msgspec
from starlette.types import ASGIApp, Message

PATIENCE_S = 10
JSON = {"content-type": "application/json"}


class Exchange:
    """One request and its answer so far."""

    def __init__(self, app: ASGIApp, scope: dict[str, Any], chunks: Iterable[bytes]) -> None:
        parts = list(chunks)
        self.status = 0
        self.headers: dict[str, str] = {}
        self.sent: list[bytes] = []
        self.complete = False
        self._body = [
            {"type": "http.request", "body": part, "more_body": number < len(parts) - 1}
            for number, part in enumerate(parts)
        ]
        self._left = asyncio.Event()
        self._news = asyncio.Event()
        self.task = asyncio.create_task(self._run(app, scope))

    @property
    def body(self) -> bytes:
        """All bytes so far."""
        return b"".join(self.sent)

    @property
    def json(self) -> Any:
        """The body of a plain answer."""
        return msgspec.json.decode(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The error that a plain answer or the last event of a stream tells of."""
        found = self.events[-1] if self.headers["content-type"] == "text/event-stream" else self.json
        assert set(found) == {"error"}
        assert set(found["error"]) == {"message", "type", "param", "code"}
        return dict(found["error"])

    @property
    def data(self) -> list[str]:
        """The data of each server-sent event; comments are left out."""
        assert self.body.endswith(b"\n\n")
        lines = [line for line in self.body.decode().split("\n\n") if line and line[0] != ":"]
        assert all(line.startswith("data: ") for line in lines)
        return [line.removeprefix("data: ") for line in lines]

    @property
    def events(self) -> list[dict[str, Any]]:
        """The server-sent events, without the closing `[DONE]`."""
        return [msgspec.json.decode(data) for data in self.data if data != "[DONE]"]

    def leave(self) -> None:
        """The client closes its connection."""
        self._left.set()

    async def until_sent(self) -> None:
        """Wait until the application sends something more."""
        self._news.clear()
        await asyncio.wait_for(self._news.wait(), PATIENCE_S)

    async def finished(self) -> Exchange:
        """Wait until the application is done with this request."""
        await asyncio.wait_for(asyncio.shield(self.task), PATIENCE_S)
        return self

    async def _run(self, app: ASGIApp, scope: dict[str, Any]) -> None:
        await app(scope, self._receive, self._send)

    async def _receive(self) -> Message:
        if self._body:
            return self._body.pop(0)
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            assert not self.status
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            assert self.status and not self.complete
            self.sent.append(message.get("body", b""))
            self.complete = not message.get("more_body", False)
        self._news.set()


class Client:
    """Asks an application."""

    def __init__(self, app: ASGIApp, headers: Mapping[str, str] = {}) -> None:
        self._app = app
        self._headers = headers

    def open(self, method: str, path: str, *chunks: bytes, headers: Mapping[str, str] = {}) -> Exchange:
        """Start a request and return at once."""
        given = {**self._headers, **headers}
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": quote(path).encode(),
            "root_path": "",
            "query_string": b"",
            "headers": [(name.encode(), value.encode()) for name, value in given.items()],
        }
        return Exchange(self._app, scope, chunks or (b"",))

    async def ask(self, method: str, path: str, *chunks: bytes, headers: Mapping[str, str] = {}) -> Exchange:
        """Make a request and wait for its end."""
        return await self.open(method, path, *chunks, headers=headers).finished()

    async def get(self, path: str) -> Exchange:
        """Make a GET request."""
        return await self.ask("GET", path)

    async def post(self, path: str, value: object) -> Exchange:
        """POST a value as JSON; bytes are sent as they are."""
        return await self.start(path, value).finished()

    def start(self, path: str, value: object) -> Exchange:
        """Begin what `post` does, and return at once."""
        content = value if isinstance(value, bytes) else msgspec.json.encode(value)
        return self.open("POST", path, content, headers=JSON)


@asynccontextmanager
async def lifespan(app: ASGIApp) -> AsyncGenerator[None]:
    """Run the application's lifespan around a block."""
    inbox: asyncio.Queue[Message] = asyncio.Queue()
    outbox: asyncio.Queue[Message] = asyncio.Queue()
    task = asyncio.create_task(_lifespan(app, inbox, outbox))
    inbox.put_nowait({"type": "lifespan.startup"})
    assert (await outbox.get())["type"] == "lifespan.startup.complete"
    yield
    inbox.put_nowait({"type": "lifespan.shutdown"})
    assert (await outbox.get())["type"] == "lifespan.shutdown.complete"
    await task


async def _lifespan(app: ASGIApp, inbox: asyncio.Queue[Message], outbox: asyncio.Queue[Message]) -> None:
    await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, inbox.get, outbox.put)
