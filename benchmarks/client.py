"""A client with as little cost of its own as asyncio allows: one request at a time over one raw connection."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit


class RefusedError(Exception):
    """The server answered with a status other than 200."""


class Connection:
    """A kept-alive HTTP/1.1 connection. Answers have a `content-length` or are chunked."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname, parts.port)

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection(*self._address)
        return self

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._writer.close()

    async def ask(self, request: bytes) -> int:
        """Send a request, read the whole answer and return its status."""
        status, _ = await self.exchange(request)
        return status

    async def exchange(self, request: bytes) -> tuple[int, bytes]:
        """Send a request; its answer's status and body."""
        status, headers = await self._head(request)
        return status, await self._body(headers)

    async def stream(self, request: bytes) -> AsyncGenerator[bytes]:
        """Send a request and pass on the chunks of the answer as they come. Raises `RefusedError`."""
        status, headers = await self._head(request)
        if status != 200:
            body = await self._body(headers)
            raise RefusedError(f"status {status}: {body[:300].decode(errors='replace')}")
        async for chunk in self._chunks():
            yield chunk

    async def _head(self, request: bytes) -> tuple[int, dict[str, str]]:
        self._writer.write(request)
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        fields = (line.split(": ", 1) for line in lines[1:] if line)
        return int(lines[0].split()[1]), {name.lower(): value for name, value in fields}

    async def _body(self, headers: dict[str, str]) -> bytes:
        if "chunked" in headers.get("transfer-encoding", ""):
            return b"".join([chunk async for chunk in self._chunks()])
        return await self._reader.readexactly(int(headers["content-length"]))

    async def _chunks(self) -> AsyncGenerator[bytes]:
        while size := int(await self._reader.readuntil(b"\n"), 16):  # EOFError: the answer was cut off
            yield (await self._reader.readexactly(size + 2))[:-2]
        await self._reader.readline()


def chat_request(script: dict[str, Any], **fields: Any) -> bytes:
    """A chat request that asks the stub engine to play `script`."""
    messages = [{"role": "user", "content": json.dumps(script)}]
    return post_request("/v1/chat/completions", {"model": "default", "messages": messages, **fields})


def post_request(path: str, fields: dict[str, Any]) -> bytes:
    """A POST request with a JSON body."""
    body = json.dumps(fields).encode()
    head = (
        f"POST {path} HTTP/1.1",
        "host: x",
        "content-type: application/json",
        f"content-length: {len(body)}",
    )
    return "\r\n".join((*head, "", "")).encode() + body


def get_request(path: str) -> bytes:
    """A GET request."""
    return f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode()
