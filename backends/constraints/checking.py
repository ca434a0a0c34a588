"""The one entrance for constraints of every kind."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

import msgspec

from backends.constraints.gbnf import lark_of
from backends.constraints.json_schema import compiler_schema
from backends.constraints.lark import check_lark
from backends.constraints.limits import LIMITS
from backends.constraints.places import below, refusal
from backends.constraints.regexes import check_regex
from backends.types import Constraint

_CHOICES = msgspec.json.Decoder(list[str])


def check(constraint: Constraint) -> Constraint:
    """The constraint as a compiler gets it: bounded, and without anything in it that would not be enforced.

    The result is of the kind `json_schema`, `regex` or `lark`.

    Raises:
        InvalidRequestError: it is too large, malformed, or asks for what cannot be enforced; `param` and the message
            name the place, which begins with the constraint's own `param`.
    """
    return _BY_KIND[constraint.kind](constraint.value, constraint.param)


def _json_object(_: str, place: str) -> Constraint:
    return Constraint("json_schema", compiler_schema('{"type":"object"}', place), place)


def _json_schema(text: str, place: str) -> Constraint:
    return Constraint("json_schema", compiler_schema(text, place), place)


def _regex(pattern: str, place: str) -> Constraint:
    if not pattern:
        raise refusal(place, "is empty")
    check_regex(pattern, place)
    return Constraint("regex", pattern, place)


def _choice(text: str, place: str) -> Constraint:
    try:
        choices = _CHOICES.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError):
        raise refusal(place, "must be a list of texts") from None
    if not choices:
        raise refusal(place, "is empty")
    if len(choices) > LIMITS.choices:
        raise refusal(place, f"has {len(choices)} entries; at most {LIMITS.choices} are allowed")
    if len(text) > LIMITS.choice_bytes or len(text.encode()) > LIMITS.choice_bytes:
        raise refusal(place, f"is larger than the {LIMITS.choice_bytes} bytes that are allowed")
    for index, choice in enumerate(choices):
        if not 0 < len(choice) <= LIMITS.text_characters:
            raise refusal(below(place, index), f"must have 1 to {LIMITS.text_characters} characters")
    texts = (json.dumps(choice, ensure_ascii=False).replace("\x7f", r"\u007f") for choice in choices)
    return Constraint("lark", f"start: CHOICE\nCHOICE: {' | '.join(texts)}\n", place)


def _lark(text: str, place: str) -> Constraint:
    return Constraint("lark", check_lark(text, place), place)


def _gbnf(text: str, place: str) -> Constraint:
    return Constraint("lark", check_lark(lark_of(text, place), place), place)


_BY_KIND: Mapping[str, Callable[[str, str], Constraint]] = {
    "json_object": _json_object,
    "json_schema": _json_schema,
    "regex": _regex,
    "choice": _choice,
    "lark": _lark,
    "gbnf": _gbnf,
}
