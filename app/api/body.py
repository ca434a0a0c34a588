"""From the bytes of a body to a wire struct, with errors that name the field."""

from __future__ import annotations

import re
from typing import TypeVar

import msgspec

from app.errors import UnknownParameterError
from backends.base import InvalidRequestError

T = TypeVar("T")

MAX_QUOTED = 200
"""Characters of the client's own input that an error message repeats."""

PATH = re.compile(r" - at (?:`key` in )?`\$\.?(?P<path>.*)`$", re.DOTALL)
UNKNOWN_FIELD = re.compile(r"Object contains unknown field `(?P<field>.*)`$", re.DOTALL)
MISSING_FIELD = re.compile(r"Object missing required field `(?P<field>.*)`$", re.DOTALL)


def decode(body: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """The body as a struct.

    Raises:
        InvalidRequestError: not JSON, or not of this shape; `param` is the path of the field, such as
            `messages[2].content`.
        UnknownParameterError: a field that the struct does not have.
    """
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise explained(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequestError(f"The body is not valid JSON: {shortened(str(error))}") from None


def explained(problem: str) -> InvalidRequestError | UnknownParameterError:
    """msgspec's message as one of ours, with the path taken out of it."""
    found = PATH.search(problem)
    path = found["path"] if found else ""
    problem = problem[: found.start()] if found else problem
    if unknown := UNKNOWN_FIELD.search(problem):
        param = shortened(joined(path, unknown["field"]))
        return UnknownParameterError(f"Unknown parameter: '{param}'", param=param)
    if missing := MISSING_FIELD.search(problem):
        param = joined(path, missing["field"])
        return InvalidRequestError(f"Missing parameter: '{param}'", param=param)
    place = f"'{path}': " if path else "The body: "
    return InvalidRequestError(place + shortened(problem).replace("`", ""), param=path or None)


def joined(path: str, field: str) -> str:
    """The path of an object's field."""
    return f"{path}.{field}" if path else field


def shortened(text: str) -> str:
    """At most `MAX_QUOTED` characters of a text that may hold the client's input."""
    return text if len(text) <= MAX_QUOTED else text[: MAX_QUOTED - 1] + "…"
