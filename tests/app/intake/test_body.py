"""Limits on bodies."""

from __future__ import annotations

import asyncio
import time

import msgspec
import pytest
from starlette.types import Receive, Scope, Send

from app.intake.body import MAX_DEPTH, BodyLimits, check_depth
from backends.base import InvalidRequestError
from tests.app.asgi import JSON, Client, Exchange


class Echo:
    """Answers with the body that it was given."""

    def __init__(self) -> None:
        self.calls = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.calls += 1
        body = (await receive()).get("body", b"") if scope["method"] == "POST" else b"none"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})


async def post(*chunks: bytes, max_bytes: int = 100, **headers: str) -> Exchange:
    given = JSON | {name.replace("_", "-"): value for name, value in headers.items()}
    return await Client(BodyLimits(Echo(), max_bytes)).ask("POST", "/", *chunks, headers=given)


async def test_a_body_in_pieces_arrives_whole() -> None:
    assert (await post(b'{"a"', b": ", b"1}")).body == b'{"a": 1}'


async def test_a_body_of_exactly_the_limit_passes() -> None:
    assert (await post(b"1" * 100)).status == 200


async def test_bytes_are_counted_as_they_arrive() -> None:
    answer = await post(*[b"1" * 30] * 4)
    assert (answer.status, answer.error["code"]) == (413, "request_too_large")
    assert "100 bytes" in answer.error["message"]


async def test_a_declared_length_above_the_limit_is_refused_unread() -> None:
    exchange = Client(BodyLimits(Echo(), 100)).open("POST", "/", b"", headers=JSON | {"content-length": "101"})
    assert (await exchange.finished()).status == 413


async def test_a_lie_about_the_length_does_not_help() -> None:
    assert (await post(b"1" * 101, content_length="5")).status == 413


@pytest.mark.parametrize("media_type", ["application/json", "Application/JSON; charset=utf-8", "application/x+json"])
async def test_json_passes(media_type: str) -> None:
    assert (await post(b"1", content_type=media_type)).status == 200


@pytest.mark.parametrize("media_type", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
async def test_what_a_browser_sends_unasked_is_refused(media_type: str) -> None:
    answer = await post(b"{}", content_type=media_type)
    assert (answer.status, answer.error["code"]) == (415, "unsupported_media_type")


async def test_compressed_bodies_are_refused() -> None:
    assert (await post(b"{}", content_encoding="gzip")).status == 415
    assert (await post(b"{}", content_encoding="identity")).status == 200


async def test_a_get_has_no_body_to_check() -> None:
    answer = await Client(BodyLimits(Echo(), 100)).get("/")
    assert answer.body == b"none"


async def test_a_body_that_does_not_come_is_a_timeout() -> None:
    async def never() -> dict[str, object]:
        await asyncio.sleep(3600)
        return {}

    sent: list[dict[str, object]] = []

    async def send(message: object) -> None:
        assert isinstance(message, dict)
        sent.append(message)

    scope = {"type": "http", "method": "POST", "headers": [(b"content-type", b"application/json")]}
    await BodyLimits(Echo(), 100, wait_s=0.01)(scope, never, send)
    assert sent[0]["status"] == 408


async def test_a_client_that_leaves_while_sending_is_not_answered() -> None:
    echo = Echo()
    exchange = Client(BodyLimits(echo, 100)).open("POST", "/", headers=JSON)
    exchange._body = []
    exchange.leave()
    await exchange.finished()
    assert (exchange.status, echo.calls) == (0, 0)


def nested(depth: int, inner: bytes = b"") -> bytes:
    return b"[" * depth + inner + b"]" * depth


def test_nesting_up_to_the_limit_passes() -> None:
    check_depth(nested(MAX_DEPTH))
    check_depth(b"[" + b",".join([nested(MAX_DEPTH - 1)] * 50) + b"]")


@pytest.mark.parametrize("body", [nested(MAX_DEPTH + 1), b'{"a":' * 65 + b"1" + b"}" * 65, b"[" * 100_000])
def test_deeper_nesting_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequestError, match="deeper than 64"):
        check_depth(body)


@pytest.mark.parametrize("text", ["[" * 500, '"[' * 500, '\\"[' * 500, "\\" * 501 + "["])
def test_brackets_in_strings_do_not_count(text: str) -> None:
    check_depth(msgspec.json.encode([text, {text: text}]))


@pytest.mark.parametrize("unit", [b'"', b'\\"', b'"\\', b"[]", b'["', b"\\"])
def test_hostile_bodies_take_linear_time(unit: bytes) -> None:
    def seconds(size: int) -> float:
        body = b"[" * 65 + unit * (size // len(unit))
        began = time.process_time()
        with pytest.raises(InvalidRequestError):
            check_depth(body)
        return time.process_time() - began

    # Quadratic time would be a factor of 400; the floor keeps the clock's noise out.
    assert seconds(1_000_000) < 100 * max(seconds(50_000), 0.001)
