"""Plain chat answers."""

from __future__ import annotations

import pytest

from backends.base import ContextLengthError
from backends.types import Accepted, Delta, Usage
from tests.app.doubles import OnePool, ScriptedEngine, Step, says
from tests.app.serving import USER, chat, engine, serving

PATH = "/v1/chat/completions"


async def test_an_answer_has_the_shape_of_openais() -> None:
    async with serving(engine(says("Hello", " you", cached=2))) as client:
        answer = await client.post(PATH, chat())
    body = answer.json
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.headers["content-length"] == str(len(answer.body))
    assert body.pop("id").startswith("chatcmpl-")
    assert isinstance(body.pop("created"), int)
    assert body.pop("system_fingerprint").startswith("fp_")
    message = {"role": "assistant", "content": "Hello you", "refusal": None}
    assert body == {
        "object": "chat.completion",
        "model": "double",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": {
            "prompt_tokens": 3,
            "completion_tokens": 2,
            "total_tokens": 5,
            "prompt_tokens_details": {"cached_tokens": 2},
        },
    }


async def test_ids_differ_and_the_fingerprint_does_not() -> None:
    async with serving(engine()) as client:
        first, second = [(await client.post(PATH, chat())).json for _ in range(2)]
    assert first["id"] != second["id"]
    assert first["system_fingerprint"] == second["system_fingerprint"]


async def test_choices_stand_in_order_and_are_all_counted() -> None:
    script: list[Step] = [
        Accepted(3),
        Delta(1, "b"),
        Delta(0, "a"),
        Delta(1, finish_reason="length", usage=Usage(3, 1)),
        Delta(0, "a", finish_reason="stop", usage=Usage(3, 2)),
    ]
    async with serving(ScriptedEngine(script)) as client:
        body = (await client.post(PATH, chat(n=2))).json
    assert [(c["index"], c["message"]["content"], c["finish_reason"]) for c in body["choices"]] == [
        (0, "aa", "stop"),
        (1, "b", "length"),
    ]
    assert (body["usage"]["prompt_tokens"], body["usage"]["completion_tokens"]) == (3, 3)


async def test_only_evaluating_the_prompt_is_an_empty_answer() -> None:
    async with serving(engine(says(finish="length"))) as client:
        body = (await client.post(PATH, chat(max_tokens=0))).json
    assert body["choices"][0]["message"]["content"] == ""
    assert body["choices"][0]["finish_reason"] == "length"
    assert body["usage"]["completion_tokens"] == 0


async def test_reasoning_is_split_from_content() -> None:
    script = [Accepted(3), Delta(0, reasoning="Hm."), *says("Yes")[1:]]
    async with serving(ScriptedEngine(script)) as client:
        message = (await client.post(PATH, chat())).json["choices"][0]["message"]
    assert (message["content"], message["reasoning_content"]) == ("Yes", "Hm.")


@pytest.mark.parametrize("model", [None, "double", "default", "auto"])
async def test_the_answer_names_the_model_that_answered(model: str | None) -> None:
    async with serving(engine()) as client:
        assert (await client.post(PATH, chat(model=model))).json["model"] == "double"


@pytest.mark.parametrize("stream", [False, True])
async def test_an_unknown_model_is_not_found(stream: bool) -> None:
    async with serving(engine()) as client:
        answer = await client.post(PATH, chat(model="gpt-5", stream=stream))
    assert (answer.status, answer.error["code"], answer.error["param"]) == (404, "model_not_found", "model")
    assert "gpt-5" in answer.error["message"]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_prompt_that_does_not_fit_is_a_status_in_both_forms(stream: bool) -> None:
    failure = ContextLengthError("the prompt has 200 tokens; the window is 128 tokens", param="messages")
    async with serving(ScriptedEngine([failure])) as client:
        answer = await client.post(PATH, chat(stream=stream))
    assert (answer.status, answer.error["code"]) == (400, "context_length_exceeded")
    assert "200" in answer.error["message"] and "128" in answer.error["message"]


async def test_half_an_answer_is_an_error() -> None:
    async with serving(ScriptedEngine([Accepted(3), Delta(0, "Hel")])) as client:
        answer = await client.post(PATH, chat())
    assert (answer.status, answer.error["code"]) == (500, "engine_error")


async def test_the_conversation_reaches_the_engine() -> None:
    double = engine()
    async with serving(double) as client:
        await client.post(PATH, {"messages": [{"role": "developer", "content": "Be brief."}, USER]})
    messages = double.requests[0].messages or ()
    assert [(message.role, message.text) for message in messages] == [("system", "Be brief."), ("user", "Hi")]


async def test_an_unexpected_error_is_a_500_that_leaks_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(OnePool(ZeroDivisionError("secret path"))) as client:
        exchange = client.start(PATH, chat())
        with pytest.raises(ZeroDivisionError):  # raised again for the server's log
            await exchange.finished()
    assert (exchange.status, exchange.error["code"]) == (500, "internal_error")
    assert b"secret" not in exchange.body
    assert exchange.headers["x-request-id"] in caplog.text
