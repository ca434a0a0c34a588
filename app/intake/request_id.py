"""A name for every request: kept from the client if sane, on every answer, and one log line per request."""

from __future__ import annotations

import logging
import re
import secrets
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger(__name__)

SANE = re.compile(rb"[A-Za-z0-9_.:\-]{1,128}")
"""Ids that may be repeated in a header and in a log line."""


class RequestId:
    """Puts `request_id` into the scope's state and `x-request-id` on the answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Name the request, pass it on, log how it ended."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        started, status = time.monotonic(), 0
        request_id = sane_id(scope) or f"req_{secrets.token_hex(12)}"
        scope.setdefault("state", {})["request_id"] = request_id

        async def named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            await self._app(scope, receive, named)
        finally:
            took_ms = (time.monotonic() - started) * 1000
            logger.info("%s %s %s %.1f ms %s", scope["method"], path_of(scope), status or "-", took_ms, request_id)


def sane_id(scope: Scope) -> str | None:
    """The client's own id, if it is harmless."""
    given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
    return given.decode() if SANE.fullmatch(given) else None


def path_of(scope: Scope) -> str:
    """The path as it was sent (percent-encoded, so without control characters) and not too long for a log."""
    raw: bytes = scope.get("raw_path") or b"-"
    return raw[:200].decode("ascii", "replace")
