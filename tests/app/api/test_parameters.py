"""Parameters: what is honoured, refused and ignored."""

from __future__ import annotations

from typing import Any

import pytest

from app.settings import Settings
from app.settings.sections import LimitSettings, ModelSettings
from backends.types import PRIORITY_NORMAL, GenerationRequest, SamplingParams, StopParams
from tests.app.doubles import says
from tests.app.serving import SETTINGS, chat, engine, serving, settings_with


async def sent(fields: dict[str, Any], settings: Settings = SETTINGS) -> GenerationRequest:
    """The request that the engine gets for a chat request with these fields."""
    double = engine()
    async with serving(double, settings) as client:
        answer = await client.post("/v1/chat/completions", chat(**fields))
    assert answer.status == 200, answer.body
    return double.requests[0]


async def refused(fields: dict[str, Any], path: str = "/v1/chat/completions") -> dict[str, Any]:
    """The error for a request with these fields; no engine has seen it."""
    double = engine()
    async with serving(double) as client:
        answer = await client.post(path, fields if "prompt" in fields else chat(**fields))
    assert (answer.status, double.requests) == (400, [])
    return answer.error


async def test_nothing_given_leaves_all_to_the_model() -> None:
    request = await sent({})
    assert (request.sampling, request.stopping, request.n) == (SamplingParams(), StopParams(), 1)
    assert request.skip_special_tokens


async def test_a_prefix_is_shared_under_the_salt_and_a_higher_priority_number_comes_later() -> None:
    request = await sent({"cache_salt": "tenant", "priority": 2})
    assert (request.cache_salt, request.priority) == ("tenant", -2)
    usual = await sent({})
    assert (usual.cache_salt, usual.priority) == (None, PRIORITY_NORMAL)


@pytest.mark.parametrize(("field", "value"), [("cache_salt", ""), ("priority", -1), ("priority", "high")])
async def test_a_bad_salt_or_priority_is_refused_by_name(field: str, value: object) -> None:
    assert (await refused({field: value}))["param"] == field


async def test_null_means_not_given() -> None:
    names = ("temperature", "top_p", "max_tokens", "stop", "seed", "n", "stream", "logit_bias", "tools", "logprobs")
    request = await sent(dict.fromkeys(names))
    assert (request.sampling, request.stopping) == (SamplingParams(), StopParams())


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("temperature", 0, SamplingParams(temperature=0.0)),
        ("temperature", 2, SamplingParams(temperature=2.0)),
        ("top_p", 0.5, SamplingParams(top_p=0.5)),
        ("top_k", 40, SamplingParams(top_k=40)),
        ("top_k", 0, SamplingParams(top_k=0)),
        ("top_k", -1, SamplingParams(top_k=0)),
        ("min_p", 0.1, SamplingParams(min_p=0.1)),
        ("typical_p", 0.9, SamplingParams(typical_p=0.9)),
        ("repetition_penalty", 1.1, SamplingParams(repetition_penalty=1.1)),
        ("repeat_penalty", 1.1, SamplingParams(repetition_penalty=1.1)),
        ("presence_penalty", -2, SamplingParams(presence_penalty=-2.0)),
        ("frequency_penalty", 2, SamplingParams(frequency_penalty=2.0)),
        ("seed", -5, SamplingParams(seed=-5)),
        ("seed", 2**63 - 1, SamplingParams(seed=2**63 - 1)),
        ("logit_bias", {"7": -100, "8": 1.5}, SamplingParams(logit_bias={7: -100.0, 8: 1.5})),
    ],
)
async def test_sampling_parameters_reach_the_engine(field: str, value: Any, expected: SamplingParams) -> None:
    assert (await sent({field: value})).sampling == expected


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("max_tokens", 5, StopParams(max_tokens=5)),
        ("max_tokens", 0, StopParams(max_tokens=0)),
        ("max_completion_tokens", 5, StopParams(max_tokens=5)),
        ("min_tokens", 2, StopParams(min_tokens=2)),
        ("stop", "END", StopParams(stop=("END",))),
        ("stop", ["a", "b", "c", "d"], StopParams(stop=("a", "b", "c", "d"))),
        ("stop", [], StopParams()),
        ("stop_token_ids", [1, 2], StopParams(stop_token_ids=(1, 2))),
        ("include_stop_str_in_output", True, StopParams(include_stop=True)),
        ("ignore_eos", True, StopParams(ignore_eos=True)),
    ],
)
async def test_ends_reach_the_engine(field: str, value: Any, expected: StopParams) -> None:
    assert (await sent({field: value})).stopping == expected


async def test_special_tokens_can_be_asked_for() -> None:
    assert not (await sent({"skip_special_tokens": False})).skip_special_tokens


@pytest.mark.parametrize(("old", "new", "used"), [(5, 9, 5), (9, 5, 5)])
async def test_of_two_limits_the_smaller_counts(old: int, new: int, used: int) -> None:
    assert (await sent({"max_tokens": old, "max_completion_tokens": new})).stopping.max_tokens == used


@pytest.mark.parametrize(("given", "used"), [(None, 20), (5, 5), (30, 30), (99, 30)])
async def test_the_settings_give_a_default_and_a_ceiling(given: int | None, used: int) -> None:
    model = ModelSettings(engine="stub", alias="double", max_tokens=20, max_tokens_limit=30)
    assert (await sent({"max_tokens": given}, settings_with(model=model))).stopping.max_tokens == used


async def test_without_a_default_the_ceiling_is_the_limit() -> None:
    model = ModelSettings(engine="stub", alias="double", max_tokens_limit=30)
    assert (await sent({}, settings_with(model=model))).stopping.max_tokens == 30


@pytest.mark.parametrize(
    ("fields", "generates", "goes_on"),
    [
        ({}, True, False),
        ({"continue_final_message": True}, False, True),
        ({"add_generation_prompt": False}, False, False),
    ],
)
async def test_template_options_reach_the_engine(fields: dict[str, bool], generates: bool, goes_on: bool) -> None:
    template = (await sent(fields)).template
    assert (template.add_generation_prompt, template.continue_final_message) == (generates, goes_on)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", 99),
        ("temperature", -0.1),
        ("temperature", "1"),
        ("temperature", True),
        ("top_p", 0),
        ("top_p", 1.1),
        ("top_k", -2),
        ("top_k", 1.5),
        ("min_p", -0.1),
        ("typical_p", 2),
        ("repetition_penalty", 0),
        ("repeat_penalty", 11),
        ("presence_penalty", 2.1),
        ("frequency_penalty", -2.1),
        ("n", 0),
        ("n", 17),
        ("n", 10**30),
        ("max_tokens", -1),
        ("max_tokens", 1.0),
        ("max_tokens", 10**400),
        ("max_completion_tokens", -1),
        ("min_tokens", -1),
        ("seed", 2**63),
        ("seed", "a"),
        ("stop", 5),
        ("stop", ""),
        ("stop", ["a", "b", "c", "d", "e"]),
        ("stop_token_ids", 5),
        ("logit_bias", []),
        ("stream", "yes"),
        ("stream_options", []),
        ("model", 5),
        ("messages", []),
        ("messages", "Hi"),
    ],
)
async def test_values_out_of_range_name_their_parameter(field: str, value: Any) -> None:
    error = await refused({field: value})
    assert (error["param"], error["code"], error["type"]) == (field, "invalid_value", "invalid_request_error")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"logit_bias": {"a": 1}}, "logit_bias"),
        ({"logit_bias": {"-1": 1}}, "logit_bias"),
        ({"logit_bias": {"1": 101}}, "logit_bias[...]"),
        ({"stop": ["a", ""]}, "stop[1]"),
        ({"stop": ["x" * 1001]}, "stop[0]"),
        ({"repetition_penalty": 1.1, "repeat_penalty": 1.2}, "repeat_penalty"),
        ({"min_tokens": 9, "max_tokens": 5}, "min_tokens"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"continue_final_message": True, "add_generation_prompt": True}, "continue_final_message"),
    ],
)
async def test_contradictions_name_a_parameter(fields: dict[str, Any], param: str) -> None:
    assert (await refused(fields))["param"] == param


async def test_the_number_of_choices_is_bounded_by_the_settings() -> None:
    async with serving(engine(says("a")), settings_with(limits=LimitSettings(max_n=2))) as client:
        answer = await client.post("/v1/chat/completions", chat(n=3))
    assert (answer.status, answer.error["message"]) == (400, "'n' must be at most 2")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tools", [{"type": "function", "function": {"name": "f"}}]),
        ("tool_choice", "auto"),
        ("tool_choice", "required"),
        ("functions", [{"name": "f"}]),
        ("function_call", "auto"),
        ("modalities", ["text", "audio"]),
        ("audio", {"voice": "x"}),
        ("web_search_options", {}),
    ],
)
async def test_features_that_are_not_offered_are_refused_by_name(field: str, value: Any) -> None:
    error = await refused({field: value})
    assert (error["param"], error["code"]) == (field, "unsupported_parameter")


@pytest.mark.parametrize(("field", "value"), [("suffix", "x"), ("best_of", 2)])
async def test_completions_refuse_what_is_not_offered(field: str, value: Any) -> None:
    error = await refused({"prompt": "Hi", field: value}, "/v1/completions")
    assert (error["param"], error["code"]) == (field, "unsupported_parameter")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tools", []),
        ("tool_choice", "none"),
        ("function_call", "none"),
        ("response_format", {"type": "text"}),
        ("logprobs", False),
        ("modalities", ["text"]),
    ],
)
async def test_values_that_ask_for_nothing_are_accepted(field: str, value: Any) -> None:
    await sent({field: value})


@pytest.mark.parametrize(
    "field", ["temprature", "guided_decoding_backend", "chat_template", "api_base", "__class__", "echo"]
)
async def test_an_unknown_parameter_is_refused_by_name(field: str) -> None:
    error = await refused({field: 1})
    assert (error["param"], error["code"]) == (field, "unknown_parameter")


async def test_harmless_parameters_are_accepted_and_listed() -> None:
    async with serving(engine()) as client:
        given = chat(user="me", store=False, metadata={"a": "b"}, service_tier="auto", parallel_tool_calls=True)
        answer = await client.post("/v1/chat/completions", given)
        assert answer.status == 200
        listed = answer.headers["x-jarvis-ignored"].split(", ")
        assert sorted(listed) == ["metadata", "parallel_tool_calls", "service_tier", "store", "user"]
        assert "x-jarvis-ignored" not in (await client.post("/v1/chat/completions", chat())).headers


async def test_streams_list_what_they_ignore_too() -> None:
    async with serving(engine()) as client:
        answer = await client.post("/v1/chat/completions", chat(user="me", stream=True))
        assert answer.headers["x-jarvis-ignored"] == "user"


async def test_completions_list_what_they_ignore_too() -> None:
    async with serving(engine()) as client:
        answer = await client.post("/v1/completions", {"prompt": "Hi", "user": "me"})
        assert answer.headers["x-jarvis-ignored"] == "user"
