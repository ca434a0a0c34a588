"""Every kind of constraint goes through one entrance."""

from __future__ import annotations

import json
from typing import Any, get_args, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.base import InvalidRequestError
from backends.constraints import LIMITS, check
from backends.types import Constraint
from tests.backends.constraints.asking import PLACE, checked, refused

KINDS = get_args(get_type_hints(Constraint)["kind"])


def test_a_json_object_is_a_schema() -> None:
    assert json.loads(checked("json_object", "").value)["type"] == "object"


def test_choices_become_one_terminal() -> None:
    found = checked("choice", ["yes", 'a "quoted"\n\x7f', "é"])
    assert found.kind == "lark"
    assert found.value == 'start: CHOICE\nCHOICE: "yes" | "a \\"quoted\\"\\n\\u007f" | "é"\n'


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ([], ""),
        ("yes", ""),
        ("nonsense", ""),
        ({"a": 1}, ""),
        (["a", 1], ""),
        (["a", ""], "[1]"),
        (["a" * (LIMITS.text_characters + 1)], "[0]"),
        (["a"] * (LIMITS.choices + 1), ""),
        (["a" * 4_000] * 20, ""),
        ('["\ud800"]', ""),
    ],
)
def test_lists_that_are_no_choice_are_refused(value: Any, place: str) -> None:
    assert refused("choice", value).param == PLACE + place


def test_errors_name_the_field_that_the_request_used() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        check(Constraint("regex", "(", param="guided_regex"))
    assert caught.value.param == "guided_regex"


@given(st.sampled_from(KINDS), st.text() | st.text(alphabet='{}[]()"\\:|*+?.,/a1 \n%<>@~#=-&', max_size=60))
def test_whatever_is_given_only_the_request_is_at_fault(kind: Any, text: str) -> None:
    try:
        assert check(Constraint(kind, text)).kind in ("json_schema", "regex", "lark")
    except InvalidRequestError as error:
        assert error.param


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
WORDS = st.sampled_from(
    [
        *("type", "properties", "items", "required", "enum", "const", "$ref", "anyOf", "oneOf", "allOf", "pattern"),
        *(
            "minimum",
            "minItems",
            "maxProperties",
            "additionalProperties",
            "prefixItems",
            "$defs",
            "format",
            "multipleOf",
        ),
    ]
)


@given(st.dictionaries(WORDS, JSON | st.dictionaries(WORDS, JSON, max_size=3), max_size=4))
def test_no_schema_is_answered_with_anything_but_a_refusal(value: dict[str, Any]) -> None:
    try:
        check(Constraint("json_schema", json.dumps(value)))
    except InvalidRequestError as error:
        assert (error.param or "").startswith("response_format")
