"""Where in a request something stands, for errors that name it."""

from __future__ import annotations

import re

from backends.base import InvalidRequestError

_PLAIN_NAME = re.compile(r"[A-Za-z_$][A-Za-z0-9_$-]{0,39}")
_LONGEST_PLACE = 200
_LONGEST_QUOTE = 60


def below(place: str, key: str | int) -> str:
    """The place of a member of an object, or of an item of an array, that stands at `place`."""
    if isinstance(key, int):
        return f"{place}[{key}]"
    return f"{place}.{key}" if _PLAIN_NAME.fullmatch(key) else f"{place}[{quoted(key)}]"


def quoted(text: str) -> str:
    """A client's text for an error message: short, and with what cannot be printed written out."""
    return repr(text if len(text) <= _LONGEST_QUOTE else text[: _LONGEST_QUOTE - 1] + "…")


def refusal(place: str, problem: str) -> InvalidRequestError:
    """The error that says what is wrong at a place; of a long place the beginning and the end are named."""
    if len(place) > _LONGEST_PLACE:
        half = _LONGEST_PLACE // 2
        place = f"{place[:half]}…{place[-half:]}"
    return InvalidRequestError(f"'{place}' {problem}", param=place)
