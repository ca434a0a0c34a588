"""API keys: everything needs one, except a short list of harmless paths."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable

from pydantic import SecretStr
from starlette.types import ASGIApp, Receive, Scope, Send

from app.errors import InvalidKeyError, error_response

OPEN_METHODS = frozenset({"GET", "HEAD"})
OPEN_PATHS = frozenset({"/", "/health", "/health/live", "/health/ready"})


class ApiKeys:
    """Lets requests pass that carry one of `keys` as `Authorization: Bearer`; all of them if there are no keys.

    Whose key it was stands in the scope's state, as `caller`: a name that tells nothing about the key.
    """

    def __init__(self, app: ASGIApp, keys: Iterable[SecretStr]) -> None:
        self._app = app
        self._digests = tuple(_digest(key.get_secret_value().encode()) for key in keys)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on or refuse it."""
        if scope["type"] == "lifespan" or not self._digests or is_open(scope):
            return await self._app(scope, receive, send)
        if (place := self._place(bearer(scope))) is not None:
            scope.setdefault("state", {})["caller"] = f"key {place}"
            return await self._app(scope, receive, send)
        if scope["type"] == "websocket":
            return await send({"type": "websocket.close", "code": 1008})
        await error_response(InvalidKeyError("The API key is missing or wrong"))(scope, receive, send)

    def _place(self, token: bytes) -> int | None:
        """Which of the keys it is."""
        # Digests have one length, and all are compared, so the time taken tells nothing about any key.
        given = _digest(token)
        same = [hmac.compare_digest(given, digest) for digest in self._digests]
        return same.index(True) if any(same) else None


def is_open(scope: Scope) -> bool:
    """Whether anybody may ask: exact paths only, so that no odd spelling of another path slips through."""
    return scope["type"] == "http" and scope["method"] in OPEN_METHODS and scope["path"] in OPEN_PATHS


def bearer(scope: Scope) -> bytes:
    """The token of the `Authorization: Bearer` header, empty where there is none."""
    header = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
    scheme, _, token = header.partition(b" ")
    return bytes(token.strip()) if scheme.lower() == b"bearer" else b""


def _digest(secret: bytes) -> bytes:
    return hashlib.sha256(secret).digest()
