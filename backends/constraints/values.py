"""The constants of a schema: values that an answer has to repeat exactly."""

from __future__ import annotations

import re
from typing import Any

from backends.constraints.limits import LARGEST_NUMBER, LIMITS, SMALLEST_NUMBER
from backends.constraints.places import below, quoted, refusal

# The compiler writes strings without \u escapes, so that no name of a property has a second spelling. What JSON cannot
# write without them cannot come.
_UNWRITABLE = re.compile(r"[^\x20-\x7e\x80-\U0010ffff\b\f\n\r\t]")


def check_value(value: Any, place: str) -> int:
    """Refuse a constant that could not be repeated exactly. Returns how many values it consists of.

    Raises:
        InvalidRequestError: naming the innermost place at fault.
    """
    count = 0
    waiting = [(value, place, 1)]
    while waiting:
        value, place, depth = waiting.pop()
        count += 1
        if depth > LIMITS.value_depth:
            raise refusal(place, f"is nested deeper than {LIMITS.value_depth} levels")
        if isinstance(value, str):
            check_text(value, place)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            check_number(value, place)
        elif isinstance(value, list):
            waiting += [(item, below(place, index), depth + 1) for index, item in enumerate(value)]
        elif isinstance(value, dict):
            for name, member in value.items():
                check_text(name, place)
                waiting.append((member, below(place, name), depth + 1))
    return count


def check_text(text: str, place: str) -> None:
    """Refuse a constant text that is too long, or that holds a character which is not written."""
    if len(text) > LIMITS.text_characters:
        raise refusal(place, f"has a text of {len(text)} characters; at most {LIMITS.text_characters} are allowed")
    if found := _UNWRITABLE.search(text):
        raise refusal(place, f"has the control character {quoted(found[0])}, which answers never contain")


def check_number(number: float, place: str) -> None:
    """Refuse a number that is not exact wherever JSON is read."""
    if abs(number) > LARGEST_NUMBER or 0 < abs(number) < SMALLEST_NUMBER:
        raise refusal(place, f"is too large or too near to 0: {SMALLEST_NUMBER:g} to 2**53, and 0, are enforced")
