"""The table of errors and the envelope."""

from __future__ import annotations

import msgspec
import pytest
from starlette.exceptions import HTTPException

from app.errors import (
    MAX_MESSAGE,
    BodyTooLargeError,
    InvalidKeyError,
    MediaTypeError,
    UnknownModelError,
    UnknownParameterError,
    envelope,
    error_response,
    headers,
    row,
)
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
    error_classes,
)

EXPECTED = [
    (InvalidRequestError, 400, "invalid_value"),
    (ContextLengthError, 400, "context_length_exceeded"),
    (UnsupportedError, 400, "unsupported_parameter"),
    (UnknownParameterError, 400, "unknown_parameter"),
    (InvalidKeyError, 401, "invalid_api_key"),
    (UnknownModelError, 404, "model_not_found"),
    (BodyTooLargeError, 413, "request_too_large"),
    (MediaTypeError, 415, "unsupported_media_type"),
    (EngineError, 500, "engine_error"),
    (CapacityError, 503, "capacity"),
    (ModelLoadingError, 503, "model_loading"),
    (ModelUnavailableError, 503, "model_unavailable"),
    (EngineCrashedError, 503, "engine_crashed"),
    (EngineTimeoutError, 504, "engine_timeout"),
    (EngineClosedError, 503, "server_shutdown"),
]


@pytest.mark.parametrize(("kind", "status", "code"), EXPECTED)
def test_each_error_has_its_status_and_code(kind: type[Exception], status: int, code: str) -> None:
    error = kind("what happened")
    assert row(error).status == status
    kind_of_fault = "invalid_request_error" if status < 500 else "server_error"
    assert envelope(error) == {
        "error": {"message": "what happened", "type": kind_of_fault, "param": None, "code": code}
    }


def test_every_error_of_the_contract_is_in_the_table() -> None:
    assert set(error_classes().values()) <= {kind for kind, _, _ in EXPECTED}


def test_an_error_names_its_parameter() -> None:
    assert envelope(InvalidRequestError("no", param="n"))["error"]["param"] == "n"


@pytest.mark.parametrize(("given", "sent"), [(None, "1"), (0.2, "1"), (2.1, "3"), (30.0, "30")])
def test_retry_after_is_a_whole_number_of_seconds(given: float | None, sent: str) -> None:
    assert headers(CapacityError("full", retry_after_s=given))["retry-after"] == sent


def test_a_model_that_cannot_be_served_is_not_worth_a_retry() -> None:
    assert headers(ModelUnavailableError("broken")) == {"x-should-retry": "false"}


def test_bad_requests_do_not_ask_for_a_retry() -> None:
    assert headers(InvalidRequestError("no", retry_after_s=3)) == {}


def test_a_missing_key_says_how_to_authenticate() -> None:
    assert headers(InvalidKeyError("no"))["www-authenticate"] == "Bearer"


def test_an_unexpected_error_tells_nothing_of_its_inside() -> None:
    error = envelope(KeyError("/etc/secret"))["error"]
    assert "secret" not in error["message"]
    assert (row(KeyError()).status, error["code"]) == (500, "internal_error")


def test_messages_are_cut() -> None:
    assert len(envelope(InvalidRequestError("x" * 100_000))["error"]["message"]) == MAX_MESSAGE


def test_the_routers_errors_keep_their_headers() -> None:
    response = error_response(HTTPException(405, headers={"Allow": "POST"}))
    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    assert msgspec.json.decode(bytes(response.body))["error"]["code"] == "method_not_allowed"
