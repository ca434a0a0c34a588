"""Constrained answers of the engine: valid whenever they end by themselves, whatever the sampling."""

from __future__ import annotations

import asyncio
import json
import re

import jsonschema
import msgspec
import pytest

from backends.base import InvalidRequestError
from backends.llama_cpp.engine import LlamaCppEngine
from backends.types import Constraint, GenerationRequest, SamplingParams, StopParams
from tests.backends.llama_cpp.conftest import chat, collect, complete, config, greedy

pytestmark = pytest.mark.asyncio(loop_scope="package")

SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "age": {"type": "integer", "minimum": 0, "maximum": 99},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}


def constrained(kind: str, value: str = "", *, seed: int | None = None, **changes: object) -> GenerationRequest:
    sampling = SamplingParams(temperature=0.0 if seed is None else 1.5, seed=seed)
    stopping = StopParams(max_tokens=200)
    constraint = msgspec.convert({"kind": kind, "value": value}, Constraint)
    return chat(
        "Tell me about Ana.", **{"sampling": sampling, "stopping": stopping, "constraint": constraint} | changes
    )


@pytest.mark.parametrize("seed", [None, *range(8)])
async def test_an_answer_that_ends_by_itself_follows_its_schema(engine: LlamaCppEngine, seed: int | None) -> None:
    answer = await complete(engine, constrained("json_schema", json.dumps(SCHEMA), seed=seed))
    assert answer.finish_reason == "stop"
    jsonschema.validate(json.loads(answer.text), SCHEMA)


@pytest.mark.parametrize(
    ("kind", "value", "pattern"),
    [
        ("regex", r"[A-Z][a-z]{2,5} is \d{2}", r"[A-Z][a-z]{2,5} is \d{2}"),
        ("choice", json.dumps(["red", "green", "blue sky"]), "red|green|blue sky"),
        ("lark", 'start: ("a" | "c") "b"', "[ac]b"),
        ("gbnf", 'root ::= ("x" | "y") "z"', "[xy]z"),
    ],
)
async def test_every_kind_of_constraint_holds(engine: LlamaCppEngine, kind: str, value: str, pattern: str) -> None:
    for seed in range(4):
        answer = await complete(engine, constrained(kind, value, seed=seed))
        assert answer.finish_reason == "stop"
        assert re.fullmatch(pattern, answer.text)


async def test_eight_constrained_answers_at_once_are_those_of_each_alone(engine: LlamaCppEngine) -> None:
    requests = [constrained("json_schema", json.dumps(SCHEMA), seed=seed) for seed in range(8)]
    alone = [(await complete(engine, request)).text for request in requests]
    together = await asyncio.gather(*(complete(engine, request) for request in requests))
    assert [answer.text for answer in together] == alone


async def test_choices_of_one_request_follow_the_constraint_each_for_itself(engine: LlamaCppEngine) -> None:
    answers = await collect(engine, constrained("json_schema", json.dumps(SCHEMA), seed=3, n=4))
    for answer in answers:
        jsonschema.validate(json.loads(answer.text), SCHEMA)
    assert len({answer.text for answer in answers}) > 1


async def test_an_answer_that_is_cut_says_so(engine: LlamaCppEngine) -> None:
    request = constrained("json_schema", json.dumps(SCHEMA), stopping=StopParams(max_tokens=4))
    answer = await complete(engine, request)
    assert answer.finish_reason == "length"
    assert answer.text.startswith("{")


async def test_an_answer_that_is_complete_ends_even_if_more_was_asked_for(engine: LlamaCppEngine) -> None:
    stopping = StopParams(max_tokens=60, min_tokens=40, ignore_eos=True)
    answer = await complete(engine, constrained("choice", json.dumps(["yes", "no"]), stopping=stopping))
    assert (answer.finish_reason, answer.text in ("yes", "no")) == ("stop", True)


async def test_drafts_stay_within_the_constraint() -> None:
    request = constrained("regex", r"(one two three ){6}done")
    engine = LlamaCppEngine(config(speculative="ngram"))
    await engine.start(lambda _: None)
    answer = await complete(engine, request)
    assert (answer.text, answer.finish_reason) == ("one two three " * 6 + "done", "stop")
    assert (await engine.stats())["drafts_accepted"] > 0
    await engine.close()


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("json_schema", '{"a":' * 3000 + "1" + "}" * 3000),
        ("json_schema", '{"type": "string", "pattern": "(a{1000}){1000}"}'),
        ("json_schema", '{"type": "object", "unheardOf": 1}'),
        ("regex", "(" * 2000 + ")" * 2000),
        ("regex", "((((a{100}){100}){100}){100})"),
        ("gbnf", "root ::= root"),
        ("lark", "start: " + "(" * 5000),
        ("choice", "[]"),
    ],
)
async def test_a_hostile_constraint_is_the_requests_own_fault(engine: LlamaCppEngine, kind: str, value: str) -> None:
    with pytest.raises(InvalidRequestError):
        await complete(engine, constrained(kind, value))
    assert (await complete(engine, greedy("Hello", max_tokens=1))).finish_reason
