"""Text completions."""

from __future__ import annotations

from typing import Any

import pytest

from app.settings.sections import LimitSettings
from tests.app.doubles import ScriptedEngine, says
from tests.app.serving import engine, serving, settings_with

PATH = "/v1/completions"


async def test_an_answer_has_the_shape_of_openais() -> None:
    async with serving(engine(says("Hello", " you"))) as client:
        body = (await client.post(PATH, {"prompt": "Hi"})).json
    assert body.pop("id").startswith("cmpl-")
    assert isinstance(body.pop("created"), int)
    assert body.pop("system_fingerprint").startswith("fp_")
    assert body["usage"].pop("prompt_tokens_details") == {"cached_tokens": 0}
    assert body == {
        "object": "text_completion",
        "model": "double",
        "choices": [{"index": 0, "text": "Hello you", "logprobs": None, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    }


@pytest.mark.parametrize(
    ("prompt", "prompts"),
    [
        ("Hi", ["Hi"]),
        ("", [""]),
        (["a", "b"], ["a", "b"]),
        ([1, 2], [(1, 2)]),
        ([[1, 2], [3]], [(1, 2), (3,)]),
    ],
)
async def test_a_prompt_is_text_texts_token_ids_or_lists_of_them(prompt: Any, prompts: list[Any]) -> None:
    double = engine()
    async with serving(double) as client:
        assert (await client.post(PATH, {"prompt": prompt})).status == 200
    assert [request.token_ids or request.prompt for request in double.requests] == prompts
    assert len({request.id for request in double.requests}) == len(prompts)


@pytest.mark.parametrize("prompt", [[], [[]], [1, "a"], [[1], 2], {}, 5, None, [-1], [1.5], [["a"]], [[[1]]]])
async def test_any_other_prompt_is_refused(prompt: Any) -> None:
    double = engine()
    async with serving(double) as client:
        answer = await client.post(PATH, {"prompt": prompt})
    assert (answer.status, double.requests) == (400, [])
    assert answer.error["param"].startswith("prompt")


async def test_the_prompt_is_required() -> None:
    async with serving(engine()) as client:
        answer = await client.post(PATH, {})
    assert (answer.status, answer.error["param"]) == (400, "prompt")


async def test_choices_of_several_prompts_are_numbered_through_and_counted() -> None:
    scripts = [[*says("a"), *says("b", index=1)[1:]], [*says("c"), *says("d", index=1)[1:]]]
    async with serving(ScriptedEngine(*scripts)) as client:
        body = (await client.post(PATH, {"prompt": ["x", "y"], "n": 2})).json
    assert [(choice["index"], choice["text"]) for choice in body["choices"]] == [(0, "a"), (1, "b"), (2, "c"), (3, "d")]
    assert (body["usage"]["prompt_tokens"], body["usage"]["completion_tokens"]) == (6, 4)


async def test_a_stream_says_text_then_the_reason_then_done() -> None:
    async with serving(engine(says("a", "b"))) as client:
        answer = await client.post(PATH, {"prompt": "Hi", "stream": True, "stream_options": {"include_usage": True}})
    *chunks, last = answer.events
    assert [chunk["choices"][0] for chunk in chunks] == [
        {"index": 0, "text": "a", "logprobs": None, "finish_reason": None},
        {"index": 0, "text": "b", "logprobs": None, "finish_reason": None},
        {"index": 0, "text": "", "logprobs": None, "finish_reason": "stop"},
    ]
    assert (last["choices"], last["usage"]["total_tokens"]) == ([], 5)
    assert {chunk["object"] for chunk in answer.events} == {"text_completion"}
    assert answer.data[-1] == "[DONE]"


async def test_streams_of_several_prompts_interleave() -> None:
    scripts = [[says("a")[0], 0.05, *says("a")[1:]], says("b")]
    async with serving(ScriptedEngine(*scripts)) as client:
        answer = await client.post(PATH, {"prompt": ["x", "y"], "stream": True})
    assert [chunk["choices"][0]["index"] for chunk in answer.events] == [1, 1, 0, 0]


async def test_echo_is_passed_on() -> None:
    double = engine()
    async with serving(double) as client:
        await client.post(PATH, {"prompt": "Hi", "echo": True, "max_tokens": 0})
    assert double.requests[0].echo


async def test_best_of_one_is_what_there_is() -> None:
    async with serving(engine()) as client:
        assert (await client.post(PATH, {"prompt": "Hi", "best_of": 1})).status == 200


async def test_the_number_of_prompts_is_bounded() -> None:
    double = engine()
    async with serving(double, settings_with(limits=LimitSettings(max_queue=4))) as client:
        answer = await client.post(PATH, {"prompt": ["x"] * 3, "n": 2})
        assert (answer.status, answer.error["param"]) == (400, "prompt")
        assert double.requests == []
