"""Limits on request bodies: type, bytes (counted as they arrive), time and depth, before anything parses them."""

from __future__ import annotations

import asyncio
import re
from itertools import accumulate

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import BodyTimeoutError, BodyTooLargeError, MediaTypeError, RequestError, error_response
from backends.base import InvalidRequestError

MAX_DEPTH = 64
"""Deepest nesting of arrays and objects."""

BODY_WAIT_S = 30.0
METHODS_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})

STRING = re.compile(rb'"(?:[^"\\]++|\\.?)*+"?', re.DOTALL)
"""A JSON string, or the unfinished rest of one: matching at every quote keeps the search linear on hostile input."""

NOT_A_BRACKET = bytes(set(range(256)) - set(b"[]{}"))
STEP = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


class ClientGoneError(Exception):
    """The client left before its body was complete: nobody is there to be answered."""


class BodyLimits:
    """Reads the whole body of a request within its limits, then passes the request on with it."""

    def __init__(self, app: ASGIApp, max_bytes: int, wait_s: float = BODY_WAIT_S) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._wait_s = wait_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check and buffer the body, or answer 400, 408, 413 or 415."""
        if scope["type"] != "http" or scope["method"] not in METHODS_WITH_BODY:
            return await self._app(scope, receive, send)
        try:
            check_media_type(Headers(scope=scope))
            body = await self._read(scope, receive)
            check_depth(body)
        except (RequestError, InvalidRequestError) as error:
            return await error_response(error)(scope, receive, send)
        except ClientGoneError:
            return
        await self._app(scope, replay(body, receive), send)

    async def _read(self, scope: Scope, receive: Receive) -> bytes:
        declared = Headers(scope=scope).get("content-length", "0")
        if declared.isascii() and declared.isdigit() and int(declared[:20]) > self._max_bytes:
            raise self._too_large()
        try:
            async with asyncio.timeout(self._wait_s):
                return await self._collect(receive)
        except TimeoutError:
            raise BodyTimeoutError(f"The body did not arrive within {self._wait_s:g} seconds") from None

    async def _collect(self, receive: Receive) -> bytes:
        chunks, size, more = [], 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            chunk, more = message.get("body", b""), message.get("more_body", False)
            size += len(chunk)
            if size > self._max_bytes:
                raise self._too_large()
            chunks.append(chunk)
        return b"".join(chunks)

    def _too_large(self) -> BodyTooLargeError:
        return BodyTooLargeError(f"The body is larger than {self._max_bytes} bytes")


def check_media_type(headers: Headers) -> None:
    """Only plain JSON: what browsers send without asking first (forms, text) and compressed bodies are refused."""
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise MediaTypeError("The Content-Type must be application/json")
    if headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise MediaTypeError("A Content-Encoding is not supported; send the body uncompressed")


def check_depth(body: bytes) -> None:
    """Refuse JSON that nests arrays and objects deeper than `MAX_DEPTH`; linear in the body's length."""
    if body.count(b"[") + body.count(b"{") <= MAX_DEPTH:
        return
    brackets = STRING.sub(b"", body).translate(None, NOT_A_BRACKET)
    if any(depth > MAX_DEPTH for depth in accumulate(map(STEP.__getitem__, brackets))):
        raise InvalidRequestError(f"The JSON body is nested deeper than {MAX_DEPTH} levels")


def replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the whole body once, and then what the server still has to say (that the client left)."""
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return pending.pop() if pending else await receive()

    return replayed
