"""The grammar of streams."""

from __future__ import annotations

from typing import Any

import pytest

from backends.base import EngineCrashedError, EngineError
from backends.types import Accepted, Delta, Usage
from tests.app.asgi import Exchange
from tests.app.doubles import ScriptedEngine, Step, says
from tests.app.serving import chat, engine, serving

PATH = "/v1/chat/completions"
CONSTANT = ("id", "object", "created", "model", "system_fingerprint")


async def stream(*script: Step, **fields: Any) -> Exchange:
    async with serving(ScriptedEngine(script)) as client:
        return await client.post(PATH, chat(stream=True, **fields))


def deltas(answer: Exchange, index: int = 0) -> list[tuple[dict[str, Any], str | None]]:
    """What each chunk of a choice says: delta and finish reason."""
    choices = [choice for chunk in answer.events for choice in chunk["choices"]]
    return [(choice["delta"], choice["finish_reason"]) for choice in choices if choice["index"] == index]


ROLE = ({"role": "assistant", "content": None}, None)


async def test_role_first_content_then_the_reason_alone_then_done() -> None:
    answer = await stream(*says("Hel", "lo"))
    assert deltas(answer) == [ROLE, ({"content": "Hel"}, None), ({"content": "lo"}, None), ({}, "stop")]
    assert answer.data[-1] == "[DONE]"
    assert answer.complete


async def test_the_headers_are_those_of_an_event_stream() -> None:
    headers = (await stream(*says("a"))).headers
    assert headers["content-type"] == "text/event-stream"
    assert headers["cache-control"] == "no-cache"
    assert headers["x-accel-buffering"] == "no"
    assert "content-encoding" not in headers
    assert headers["x-request-id"]


async def test_the_head_is_constant() -> None:
    events = (await stream(*says("a", "b"), stream_options={"include_usage": True})).events
    assert len({tuple(chunk[name] for name in CONSTANT) for chunk in events}) == 1
    assert events[0]["object"] == "chat.completion.chunk"
    assert events[0]["model"] == "double"


async def test_text_and_end_in_one_step_become_two_chunks() -> None:
    answer = await stream(Accepted(3), Delta(0, "a", finish_reason="length", usage=Usage(3, 1)))
    assert deltas(answer) == [ROLE, ({"content": "a"}, None), ({}, "length")]


async def test_steps_without_text_are_not_sent() -> None:
    answer = await stream(Accepted(3), Delta(0, ""), Delta(0, "a"), Delta(0, ""), *says()[1:])
    assert deltas(answer) == [ROLE, ({"content": "a"}, None), ({}, "stop")]


async def test_an_empty_answer_has_a_role_and_a_reason() -> None:
    assert deltas(await stream(*says(finish="length"), max_tokens=0)) == [ROLE, ({}, "length")]


async def test_reasoning_comes_as_reasoning_content() -> None:
    answer = await stream(Accepted(3), Delta(0, reasoning="Hm."), *says("Yes")[1:])
    assert deltas(answer) == [ROLE, ({"reasoning_content": "Hm."}, None), ({"content": "Yes"}, None), ({}, "stop")]


async def test_each_choice_follows_the_grammar() -> None:
    answer = await stream(Accepted(3), Delta(1, "b"), Delta(0, "a"), *says()[1:], *says(index=1)[1:], n=2)
    assert deltas(answer, 0) == [ROLE, ({"content": "a"}, None), ({}, "stop")]
    assert deltas(answer, 1) == [ROLE, ({"content": "b"}, None), ({}, "stop")]


async def test_usage_comes_in_one_extra_chunk_if_asked_for() -> None:
    events = (await stream(*says("a", "b", cached=1), stream_options={"include_usage": True})).events
    assert events[-1]["choices"] == []
    assert events[-1]["usage"] == {
        "prompt_tokens": 3,
        "completion_tokens": 2,
        "total_tokens": 5,
        "prompt_tokens_details": {"cached_tokens": 1},
    }
    assert all(chunk["choices"] and chunk["usage"] is None for chunk in events[:-1])


@pytest.mark.parametrize("options", [None, {}, {"include_usage": False}, {"include_obfuscation": True}])
async def test_without_the_option_there_is_no_usage(options: dict[str, bool] | None) -> None:
    events = (await stream(*says("a"), stream_options=options)).events
    assert all("usage" not in chunk and chunk["choices"] for chunk in events)


async def test_text_of_any_kind_survives() -> None:
    texts = ["naïve ", "😀", "\n\ndata: [DONE]\n\n", "\u2028\r", '"\\']
    chunks = deltas(await stream(*says(*texts)))
    assert [delta["content"] for delta, _ in chunks[1:-1]] == texts


async def test_a_failure_before_the_first_content_is_a_status() -> None:
    answer = await stream(Accepted(3), Delta(0, ""), EngineError("broken"))
    assert (answer.status, answer.error["message"]) == (500, "broken")
    assert answer.headers["content-type"] == "application/json"


async def test_a_failure_after_it_is_an_event_and_the_end(caplog: pytest.LogCaptureFixture) -> None:
    answer = await stream(Accepted(3), Delta(0, "a"), EngineCrashedError("it died"))
    assert (answer.status, answer.complete) == (200, True)
    assert deltas_before_error(answer) == [ROLE, ({"content": "a"}, None)]
    assert (answer.error["code"], answer.error["type"]) == ("engine_crashed", "server_error")
    assert "[DONE]" not in answer.data
    assert answer.headers["x-request-id"] in caplog.text and "it died" in caplog.text


async def test_an_unexpected_failure_in_mid_stream_leaks_nothing(caplog: pytest.LogCaptureFixture) -> None:
    answer = await stream(Accepted(3), Delta(0, "a"), ZeroDivisionError("secret"))
    assert answer.error["code"] == "internal_error"
    assert b"secret" not in answer.body
    assert "secret" in caplog.text


async def test_a_stream_that_just_stops_is_an_error() -> None:
    answer = await stream(Accepted(3), Delta(0, "a"))
    assert answer.error["code"] == "engine_error"
    assert "[DONE]" not in answer.data


async def test_a_missing_choice_is_an_error_too() -> None:
    answer = await stream(*says("a"), n=2)
    assert answer.error["code"] == "engine_error"


async def test_the_same_request_streamed_and_plain_says_the_same() -> None:
    async with serving(engine(says("Hel", "lo", " you"))) as client:
        plain = (await client.post(PATH, chat())).json["choices"][0]
        streamed = deltas(await client.post(PATH, chat(stream=True)))
    assert "".join(delta.get("content") or "" for delta, _ in streamed) == plain["message"]["content"]
    assert streamed[-1][1] == plain["finish_reason"]


def deltas_before_error(answer: Exchange) -> list[tuple[dict[str, Any], str | None]]:
    choices = [chunk["choices"][0] for chunk in answer.events[:-1]]
    return [(choice["delta"], choice["finish_reason"]) for choice in choices]
