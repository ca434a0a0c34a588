"""The keywords of JSON Schema whose values are no schemas: what they may hold, and what of it the compiler gets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from backends.constraints.limits import LARGEST_NUMBER, LIMITS
from backends.constraints.places import below, quoted, refusal
from backends.constraints.regexes import check_regex
from backends.constraints.values import check_number, check_text

TYPES = ("null", "boolean", "integer", "number", "string", "array", "object")
FORMATS = frozenset(
    ("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri"),
)
"""Formats of strings that the compiler enforces."""

ANNOTATIONS = frozenset(
    (
        *("title", "description", "default", "examples", "example", "deprecated", "readOnly", "writeOnly"),
        *("$schema", "$comment", "$anchor", "$defs", "definitions", "contentMediaType", "contentEncoding"),
        *("discriminator", "externalDocs", "xml"),
    )
)
"""Keywords that allow and forbid nothing; definitions count where something refers to them."""

_EXPONENT = -15


def type_names(value: Any, place: str) -> str | list[str]:
    """One type, or several different ones."""
    names = value if isinstance(value, list) else [value]
    if not names or not all(isinstance(name, str) and name in TYPES for name in names):
        raise refusal(place, f"must be one or several of {', '.join(TYPES)}")
    return names[0] if len(names) == 1 else list(dict.fromkeys(names))


def size(value: Any, place: str) -> int:
    """A bound of a length or of a number of items."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise refusal(place, "must be a whole number, not negative")
    if value > LIMITS.length:
        raise refusal(place, f"must be at most {LIMITS.length}")
    return value


def lower_bound(value: Any, place: str) -> float:
    """`minimum` or `exclusiveMinimum`. Answers stay above -2**53, whatever a smaller bound says."""
    return _bound(max(_number(value, place), -LARGEST_NUMBER), place)


def upper_bound(value: Any, place: str) -> float:
    """`maximum` or `exclusiveMaximum`. Answers stay below 2**53, whatever a larger bound says."""
    return _bound(min(_number(value, place), LARGEST_NUMBER), place)


def divisor(value: Any, place: str) -> float:
    """`multipleOf`."""
    number = _number(value, place)
    if number <= 0:
        raise refusal(place, "must be greater than 0")
    return _bound(number, place)


def digits_of(number: float) -> int:
    """The digits of a divisor as a whole number, without zeros at the end: 5 of 0.05, 12 of 1200."""
    _, digits, exponent = Decimal(repr(number)).normalize().as_tuple()
    if isinstance(exponent, int) and exponent < _EXPONENT:
        return LIMITS.divisor + 1
    return int("".join(map(str, digits)))


def names(value: Any, place: str) -> list[str]:
    """`required`."""
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise refusal(place, "must be a list of names")
    if len(value) > LIMITS.properties:
        raise refusal(place, f"has {len(value)} names; at most {LIMITS.properties} are allowed")
    for index, name in enumerate(value):
        check_text(name, below(place, index))
    return list(dict.fromkeys(value))


def pattern(value: Any, place: str) -> str:
    """A regular expression that is found somewhere in the text."""
    if not isinstance(value, str):
        raise refusal(place, "must be a regular expression in a text")
    check_regex(value, place)
    return value


def text_format(value: Any, place: str) -> str:
    """`format`."""
    if not isinstance(value, str) or value not in FORMATS:
        shown = quoted(value) if isinstance(value, str) else "what it is"
        raise refusal(place, f"cannot be {shown}: of formats {', '.join(sorted(FORMATS))} are enforced")
    return value


SIMPLE: Mapping[str, Callable[[Any, str], Any]] = {
    "type": type_names,
    "required": names,
    "pattern": pattern,
    "format": text_format,
    "minLength": size,
    "maxLength": size,
    "minItems": size,
    "maxItems": size,
    "minProperties": size,
    "maxProperties": size,
    "minimum": lower_bound,
    "exclusiveMinimum": lower_bound,
    "maximum": upper_bound,
    "exclusiveMaximum": upper_bound,
    "multipleOf": divisor,
}
"""By keyword: the function that refuses a wrong value and returns what the compiler gets."""


def _number(value: Any, place: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise refusal(place, "must be a number")
    return value


def _bound(number: float, place: str) -> float:
    check_number(number, place)
    return number
