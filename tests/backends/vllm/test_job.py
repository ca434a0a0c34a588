"""From vLLM's tokens to deltas: ends, stop strings, log-probabilities, and what is not counted."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
import pytest

from backends.types import Constraint, GenerationRequest, SamplingParams, StopParams, Timings
from backends.vllm.job import Choice, Job, token_logprob
from backends.vllm.sampling import constraint_fields, sampling_fields
from tests.backends.vllm.test_vocab import byte_level

VOCAB = byte_level()
END = 256
DEFAULTS = SamplingParams(temperature=1.0, top_k=0, top_p=1.0, min_p=0.0, typical_p=1.0, repetition_penalty=1.0)


class Said(NamedTuple):
    """vLLM's entry for a token."""

    logprob: float


def job(max_new: int = 100, sampling: SamplingParams = DEFAULTS, **changes: Any) -> Job:
    stopping = StopParams(**{name: changes.pop(name) for name in list(changes) if name in StopParams.__struct_fields__})
    request = GenerationRequest(id="r", token_ids=(1, 2), stopping=stopping, **changes)
    natural = frozenset() if stopping.ignore_eos else VOCAB.end_of_generation
    ends, banned = natural | frozenset(stopping.stop_token_ids), VOCAB.end_of_generation - natural
    return Job(request, [1, 2], sampling, stopping.stop, ends, max_new, banned=banned)


def answer(text: str, job: Job, *more: int) -> Choice:
    choice = Choice(job, VOCAB, 0)
    choice.take([*VOCAB.encode(text, special=False), *more], None)
    return choice


def test_text_leaves_as_it_becomes_certain() -> None:
    choice = answer("ü"[:1], job())
    delta = choice.delta(Timings())
    assert delta is not None and (delta.text, len(delta.token_ids), delta.finish_reason) == ("ü", 2, None)
    choice.take(VOCAB.encode("é", special=False)[:1], None)
    assert choice.delta(Timings()) is None


@pytest.mark.parametrize(
    ("fields", "tokens", "expected"),
    [
        ({}, ("Hi", END), ("Hi", "stop", 3)),
        ({}, ("Hi", END, 5, 6), ("Hi", "stop", 3)),
        ({"max_new": 2}, ("Hi",), ("Hi", "length", 2)),
        ({"max_new": 2}, ("Hiya",), ("Hi", "length", 2)),
        ({"stop": ("lo",)}, ("Hello you",), ("Hel", "stop", 5)),
        ({"stop": ("lo",), "include_stop": True}, ("Hello you",), ("Hello", "stop", 5)),
        ({"stop": ("H",), "min_tokens": 2, "max_new": 4}, ("HiHo",), ("Hi", "stop", 3)),
        ({"stop_token_ids": (65,)}, ("Hi", 65, 66), ("Hi", "stop", 3)),
        ({"ignore_eos": True, "max_new": 3}, ("Hi", END), ("Hi", "length", 3)),
    ],
)
def test_an_answer_ends_where_it_has_to(
    fields: dict[str, Any], tokens: tuple[Any, ...], expected: tuple[str, str, int]
) -> None:
    delta = answer(tokens[0], job(**fields), *tokens[1:]).delta(Timings())
    assert delta is not None and delta.usage is not None
    assert (delta.text, delta.finish_reason, delta.usage.completion_tokens) == expected


def test_an_answer_that_the_engine_ends_gives_what_it_held_back() -> None:
    choice = answer("He", job(stop=("Hell",)))
    assert choice.delta(Timings()) is None
    choice.end("length")
    delta = choice.delta(Timings())
    assert delta is not None and (delta.text, delta.finish_reason) == ("He", "length")


def test_logprobs_are_ranked_and_name_the_drawn_token_even_if_it_is_not_among_the_best() -> None:
    found = {65: Said(-3.0), 66: Said(-0.5), 68: Said(-1.0), 67: Said(-1.0)}
    entry = token_logprob(65, found, 3, VOCAB)
    assert (entry.token_id, entry.logprob) == (65, -3.0)
    assert [(id, value) for id, value, _ in entry.top] == [(66, -0.5), (67, -1.0), (68, -1.0)]
    assert token_logprob(65, found, 0, VOCAB).top == ()


def test_the_end_of_an_answer_has_its_logprob_and_is_not_shown() -> None:
    choice = Choice(job(logprobs=0), VOCAB, 0)
    choice.take([65, END], [{65: Said(-1.0)}, {END: Said(-0.1)}])
    delta = choice.delta(Timings())
    assert delta is not None
    assert [(entry.token_id, entry.shown) for entry in delta.logprobs] == [(65, True), (END, False)]


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "seed": None, "logit_bias": None}),
        ({"temperature": 0.0}, {"temperature": 0.0}),
        ({"top_p": 0.0}, {"top_p": 1e-6}),
        ({"top_k": -1}, {"top_k": 0}),
        ({"seed": 7}, {"seed": 9}),
        ({"seed": 2**64 - 1}, {"seed": 1}),
        ({"logit_bias": {5: -100.0}}, {"logit_bias": {5: -100.0}}),
        ({"presence_penalty": 1.0, "frequency_penalty": 0.5, "repetition_penalty": 1.2},
         {"presence_penalty": 1.0, "frequency_penalty": 0.5, "repetition_penalty": 1.2}),
    ],
)  # fmt: skip
def test_sampling_parameters_are_passed_on(params: dict[str, Any], expected: dict[str, Any]) -> None:
    fields = sampling_fields(job(sampling=msgspec.structs.replace(DEFAULTS, **params)), choice=2)
    assert {name: fields[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {"max_tokens": 100, "min_tokens": 0, "stop_token_ids": [END]}),
        ({"max_new": 0}, {"max_tokens": 1}),
        ({"stop_token_ids": (9,), "min_tokens": 3}, {"stop_token_ids": [9, END], "min_tokens": 3}),
        ({"min_tokens": 300}, {"min_tokens": 100}),
        ({"ignore_eos": True, "stop_token_ids": (9,)},
         {"ignore_eos": True, "stop_token_ids": [END], "min_tokens": 100}),
    ],
)  # fmt: skip
def test_ends_of_an_answer_are_passed_on(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    given = sampling_fields(job(**fields), choice=0)
    assert {name: given[name] for name in expected} == expected


def test_vllm_sends_neither_text_nor_looks_for_stop_strings() -> None:
    fields = sampling_fields(job(stop=("x",)), choice=0)
    assert fields["detokenize"] is False and "stop" not in fields


def test_prompt_logprobs_are_only_asked_for_where_the_prompt_is_echoed() -> None:
    assert sampling_fields(job(prompt_logprobs=2), 0)["prompt_logprobs"] is None
    assert sampling_fields(job(prompt_logprobs=2, echo=True), 0)["prompt_logprobs"] == 2


def test_constraints_go_to_vllm_as_schema_or_grammar() -> None:
    assert constraint_fields(Constraint("json_schema", "{}")) == {"json": "{}"}
    assert constraint_fields(Constraint("lark", 'start: "a"'))["grammar"].startswith('start: "a"\n%llguidance')
    assert constraint_fields(Constraint("regex", "a+"))["grammar"].startswith("start: /")
