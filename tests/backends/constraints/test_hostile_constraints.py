"""Constraints made to break things: each is refused, or followed at a bounded price."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backends.base import InvalidRequestError
from backends.constraints import LIMITS
from backends.constraints.constraining import TokenMatcher
from tests.backends.constraints.constrained import draw, follow, matcher
from tests.backends.constraints.test_json_schema import chained, nested

ROOT = Path(__file__).parents[3]

HOSTILE: list[tuple[str, Any]] = [
    ("json_schema", nested(LIMITS.schema_depth)),
    ("json_schema", chained(LIMITS.schema_descent // 2 - 1)),
    ("json_schema", {"allOf": [nested(50), nested(50)]}),
    ("json_schema", {"enum": [f"value number {i}" for i in range(LIMITS.values - 1)]}),
    ("json_schema", {"type": "object", "properties": {f"p{i}": {} for i in range(LIMITS.properties)}}),
    (
        "json_schema",
        {"allOf": [{"anyOf": [{"properties": {f"k{i}{j}": {"type": "null"}}} for j in range(9)]} for i in range(9)]},
    ),
    ("json_schema", {"type": "string", "minLength": LIMITS.length}),
    ("json_schema", {"type": "array", "items": {}, "minItems": LIMITS.length}),
    ("json_schema", {"type": "string", "pattern": "(.*a){30}", "maxLength": 1000}),
    ("json_schema", {"type": "string", "pattern": "^((.{0,20}[ab]){0,20}|(.{0,30}[bc]){0,30})$"}),
    ("json_schema", {"type": "integer", "multipleOf": 9973}),
    ("json_schema", {"patternProperties": {f"^x{i}.*(a|b)*a(a|b){{8}}$": {} for i in range(16)}}),
    ("json_schema", {"const": "a" * LIMITS.text_characters}),
    ("json_schema", {"type": "string", "minLength": 5, "maxLength": 3}),
    ("regex", "(a{100}){100}"),
    ("regex", "(.{1,90}x?){1,90}"),
    ("regex", "(a?){4000}a{4000}"),
    ("regex", "(.*[a-m].{20}|.*[n-z].{21})*x"),
    ("regex", "([a-z]*[b-y]*[c-x]*[d-w]*){40}"),
    ("lark", 'start: "a" start'),
    ("lark", "start: start"),
    ("lark", 'start: e\ne: e e | "a" | "b"'),
    ("lark", 'start: e+\ne: e? e? e? e? e? e? "a"?'),
    ("lark", "start: T\nT: /(.*a){20}/ & /(.*b){20}/ & /(.*c){20}/"),
    ("lark", 'start: "' + "a" * 60_000 + '"'),
    ("lark", "start: " + " | ".join(f'"w{i}" /[a-z]{{1,9}}/' for i in range(3_000))),
    ("lark", "start: undefined"),
    ("lark", "start: T\nT: T"),
    ("gbnf", 'root ::= ("a" | "b" root){50} | "c"'),
    ("choice", [f"choice {i}" for i in range(LIMITS.choices)]),
]


@pytest.mark.parametrize(("kind", "value"), HOSTILE, ids=lambda value: str(value)[:40])
def test_hostile_constraints_end_in_an_answer_or_in_a_refusal(kind: str, value: Any) -> None:
    try:
        draw(matcher(kind, value), 0, limit=30)
    except InvalidRequestError as error:
        assert error.param
        assert len(error.message) < 600
        assert "panic" not in error.message


GREEDY = [
    ("lark", 'start: /a+/ "a"', ""),
    ("lark", 'start: A A\nA: "x"+', ""),
    ("lark", '%llguidance {}\nstart: /a+/ "a" # the end', ""),
    ("gbnf", 'root ::= x "a" | x "a" root\nx ::= "a"+', ""),
    ("lark", 'start: "y" /a+/ "a" | "n"', "y"),
]
"""Kind, grammar, and the text after which a terminal takes all that what follows it needs."""


def follow_greedy_grammars() -> None:
    """What the test below does, in a process of its own."""
    for kind, grammar, beginning in GREEDY:
        start = matcher(kind, grammar)
        assert follow(start, beginning)
        assert len(draw(start, 0, limit=8).raw) >= 8


def test_greedy_terminals_do_not_keep_native_code_for_ever() -> None:
    """It would hold the interpreter's lock, so that only another process can see it and end it."""
    work = f"from {__name__} import follow_greedy_grammars as work; work()"
    done = subprocess.run([sys.executable, "-c", work], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_the_deepest_constraints_fit_a_small_stack() -> None:
    """Native code recurses along them, and an overflow would end the process."""
    deepest = [
        ("json_schema", chained(LIMITS.schema_descent // 2 - 1)),
        ("json_schema", {"allOf": [nested(LIMITS.schema_depth - 1)] * 2}),
        ("lark", "start: r0\n" + "".join(f'r{i}: "a" r{i + 1} | "b"\n' for i in range(390)) + 'r390: "c"'),
        ("regex", "(" * (LIMITS.regex_depth - 1) + "a" + ")*b" * (LIMITS.regex_depth - 1)),
    ]
    compiled: list[TokenMatcher | InvalidRequestError] = []

    def work() -> None:
        for kind, value in deepest:
            try:
                compiled.append(matcher(kind, value))
            except InvalidRequestError as error:
                compiled.append(error)

    previous = threading.stack_size(2 * 1024 * 1024)
    try:
        thread = threading.Thread(target=work)
        thread.start()
    finally:
        threading.stack_size(previous)
    thread.join()
    assert len(compiled) == len(deepest)


GARBAGE = st.text(alphabet='{}[]()"\\:|*+?.,/a1 \n%~=-&_^$', max_size=40)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(["regex", "lark", "gbnf", "choice"]), GARBAGE, st.integers(0, 3))
def test_garbage_is_refused_or_enforced(kind: str, text: str, seed: int) -> None:
    text = {"lark": f"start: {text}", "gbnf": f"root ::= {text}", "choice": json.dumps([text])}.get(kind, text)
    try:
        draw(matcher(kind, text), seed, limit=10)
    except InvalidRequestError as error:
        assert error.param == "response_format" or str(error.param).startswith("response_format[")


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(GARBAGE, GARBAGE)
def test_any_pattern_is_refused_or_enforced_in_a_schema(pattern: str, name: str) -> None:
    schema = {"type": "object", "properties": {name: {"type": "string", "pattern": pattern}}, "required": [name]}
    try:
        answer = draw(matcher("json_schema", schema), 0, limit=60, hurry=5)
    except InvalidRequestError:
        return
    if answer.ended:
        assert json.loads(answer.raw.decode())[name] is not None


NAMES = st.sampled_from(["a", "b", "c d", "é", "x1", "x2"])
SCALARS = st.one_of(
    st.sampled_from(
        [{"type": "null"}, {"type": "boolean"}, {}, {"enum": ["a", 1, None, [2.5]]}, {"const": {"k": "é\n"}}]
    ),
    st.builds(
        lambda low, size: {"type": "integer", "minimum": low, "maximum": low + size},
        st.integers(-50, 50),
        st.integers(0, 900),
    ),
    st.builds(
        lambda low, size: {"type": "number", "minimum": low, "maximum": low + size},
        st.integers(-5, 5),
        st.integers(0, 3),
    ),
    st.builds(
        lambda least, more: {"type": "string", "minLength": least, "maxLength": least + more},
        st.integers(0, 3),
        st.integers(0, 4),
    ),
    st.builds(
        lambda pattern: {"type": "string", "pattern": pattern}, st.sampled_from(["^[a-z]{1,4}$", "\\d", "^a|b$", "^.$"])
    ),
)


def with_members(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Schemas made of other schemas."""
    objects = st.fixed_dictionaries(
        {"type": st.just("object"), "properties": st.dictionaries(NAMES, inner, max_size=3)},
        optional={
            "required": st.lists(NAMES, max_size=2, unique=True),
            "additionalProperties": st.just(False) | inner,
            "patternProperties": st.fixed_dictionaries({"^x": inner}),
            "minProperties": st.integers(0, 2),
            "maxProperties": st.integers(0, 4),
        },
    )
    arrays = st.fixed_dictionaries(
        {"type": st.just("array"), "maxItems": st.integers(0, 3)},
        optional={
            "items": inner,
            "prefixItems": st.lists(inner, min_size=1, max_size=2),
            "minItems": st.integers(0, 2),
        },
    )
    members = st.lists(inner, min_size=1, max_size=3)
    return st.one_of(
        objects, arrays, *(st.builds(lambda found, k=k: {k: found}, members) for k in ("anyOf", "oneOf", "allOf"))
    )


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.recursive(SCALARS, with_members, max_leaves=8), st.integers(0, 3))
def test_any_schema_is_refused_or_obeyed(schema: dict[str, Any], seed: int) -> None:
    try:
        start = matcher("json_schema", schema)
    except InvalidRequestError:
        return
    answer = draw(start, seed, limit=150, hurry=5)
    if answer.ended:
        jsonschema.Draft202012Validator(schema).validate(json.loads(answer.raw.decode()))
