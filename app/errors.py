"""From exceptions to HTTP: one table, one envelope.

Every error body is OpenAI's: `{"error": {"message", "type", "param", "code"}}`. Errors that the engines know live in
`backends.base`; those that only an HTTP server knows are added here::

    RequestError
    ├── UnknownParameterError        a field that this API does not have (400)
    ├── InvalidKeyError              no API key, or a wrong one (401)
    ├── UnknownModelError            no such model id (404)
    ├── BodyTimeoutError             the body did not arrive in time (408)
    ├── BodyTooLargeError            more bytes than allowed (413)
    └── MediaTypeError               not JSON, or compressed (415)
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from backends.base import (
    CapacityError,
    ContextLengthError,
    EngineClosedError,
    EngineCrashedError,
    EngineError,
    EngineTimeoutError,
    InvalidRequestError,
    ModelLoadingError,
    ModelUnavailableError,
    UnsupportedError,
)

logger = logging.getLogger(__name__)

MAX_MESSAGE = 2_000
"""Characters of an error message; whatever a client or an engine put into it, the answer stays small."""


class RequestError(Exception):
    """Root of the errors that HTTP itself makes possible; `param` names the field at fault."""

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param


class UnknownParameterError(RequestError):
    """A field that this API does not have: refused, so that nothing is dropped in silence."""


class InvalidKeyError(RequestError):
    """No API key, or one that is not in the settings."""


class UnknownModelError(RequestError):
    """No model of that id."""


class BodyTimeoutError(RequestError):
    """The request's body did not arrive in time."""


class BodyTooLargeError(RequestError):
    """The request's body has more bytes than the settings allow."""


class MediaTypeError(RequestError):
    """The body is not JSON, or is compressed."""


class Row(NamedTuple):
    """What an exception becomes; `retry_s` is the `Retry-After` of errors that bring none of their own."""

    status: int
    type: str
    code: str | None
    retry_s: float | None = None
    headers: Mapping[str, str] = {}


CLIENT = "invalid_request_error"
SERVER = "server_error"
INTERNAL = Row(500, SERVER, "internal_error")

TABLE: dict[type[Exception], Row] = {
    InvalidRequestError: Row(400, CLIENT, "invalid_value"),
    ContextLengthError: Row(400, CLIENT, "context_length_exceeded"),
    UnsupportedError: Row(400, CLIENT, "unsupported_parameter"),
    UnknownParameterError: Row(400, CLIENT, "unknown_parameter"),
    InvalidKeyError: Row(401, CLIENT, "invalid_api_key", headers={"www-authenticate": "Bearer"}),
    UnknownModelError: Row(404, CLIENT, "model_not_found"),
    BodyTimeoutError: Row(408, CLIENT, "request_timeout", headers={"connection": "close"}),
    BodyTooLargeError: Row(413, CLIENT, "request_too_large"),
    MediaTypeError: Row(415, CLIENT, "unsupported_media_type"),
    EngineError: Row(500, SERVER, "engine_error"),
    CapacityError: Row(503, SERVER, "capacity", retry_s=1),
    ModelLoadingError: Row(503, SERVER, "model_loading", retry_s=5),
    ModelUnavailableError: Row(503, SERVER, "model_unavailable", headers={"x-should-retry": "false"}),
    EngineCrashedError: Row(503, SERVER, "engine_crashed", retry_s=1),
    EngineTimeoutError: Row(504, SERVER, "engine_timeout"),
    EngineClosedError: Row(503, SERVER, "server_shutdown", retry_s=5),
}

ROUTING = {404: ("not_found", "There is no such path"), 405: ("method_not_allowed", "This path has other methods")}
"""Code and message of the errors that Starlette's router raises."""


def row(error: Exception) -> Row:
    """The table's row of the error's class, or of its nearest listed ancestor."""
    if isinstance(error, HTTPException):
        code, _ = ROUTING.get(error.status_code, (None, ""))
        return Row(error.status_code, CLIENT, code, headers=error.headers or {})
    return next((TABLE[kind] for kind in type(error).__mro__ if kind in TABLE), INTERNAL)


def envelope(error: Exception) -> dict[str, Any]:
    """The body of an error; an exception that is not in the table tells nothing of its inside."""
    kind = row(error)
    return {"error": {"message": _message(error, kind), "type": kind.type, "param": _param(error), "code": kind.code}}


def headers(error: Exception) -> dict[str, str]:
    """`Retry-After` (whole seconds, at least 1) where trying again can help, and what else the error's row asks for."""
    kind = row(error)
    found = dict(kind.headers)
    if kind.retry_s is not None:
        wait = getattr(error, "retry_after_s", None)
        found["retry-after"] = str(max(1, math.ceil(kind.retry_s if wait is None else wait)))
    return found


def error_response(error: Exception) -> Response:
    """The error as a complete answer."""
    body = msgspec.json.encode(envelope(error))
    return Response(body, row(error).status, headers(error), media_type="application/json")


async def handle(_: Request, error: Exception) -> Response:
    """Starlette's exception handler for everything in the table."""
    return error_response(error)


async def handle_unexpected(request: Request, error: Exception) -> Response:
    """The outermost handler. Starlette raises the exception again afterwards, and the server logs its traceback."""
    request_id = request.scope.get("state", {}).get("request_id", "-")
    logger.error("request %s failed with %s", request_id, type(error).__name__)
    response = error_response(error)
    response.headers["x-request-id"] = request_id
    return response


def _message(error: Exception, kind: Row) -> str:
    if kind is INTERNAL:
        return "The server failed to process the request; its log tells more."
    message = str(error)
    if isinstance(error, HTTPException):
        _, message = ROUTING.get(error.status_code, (None, error.detail))
    return message if len(message) <= MAX_MESSAGE else message[: MAX_MESSAGE - 1] + "…"


def _param(error: Exception) -> str | None:
    return error.param if isinstance(error, EngineError | RequestError) else None
