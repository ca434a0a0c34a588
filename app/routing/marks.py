"""Points of a text to which a session can go back, a few bytes each."""

from __future__ import annotations

from array import array
from typing import NamedTuple

MOST_MARKS = 64
FIRST_SPACING = 256
"""Characters between two marks at first; twice as many whenever there would be too many marks."""
MOST_FEATURES = 2**24
"""Beyond so many features, sums might not fit into a mark."""
_FIELDS = 4
_SIGN, _WORD = 2**31, 2**32


class Mark(NamedTuple):
    """What a session knows right after a space: characters, tokens and features so far, `boundary` of the features'
    state, and the sums of the table's rows."""

    characters: int
    tokens: int
    features: int
    boundary: int
    sums: list[int]


class Marks:
    """At most `MOST_MARKS`, in the order of the text, as 32-bit numbers: 64 bytes each for ten routes."""

    __slots__ = ("_numbers", "_spacing", "_width")

    def __init__(self, sums: int) -> None:
        self._numbers = array("i")
        self._width = _FIELDS + sums
        self._spacing = FIRST_SPACING

    def __len__(self) -> int:
        return len(self._numbers) // self._width

    def due(self, characters: int) -> bool:
        """Whether there should be a mark at or before so many characters."""
        last = self._numbers[-self._width] if self._numbers else 0
        return characters - last >= self._spacing

    def add(self, mark: Mark) -> None:
        """Keep the mark, which lies behind all others. Every second one makes room where there are too many."""
        if mark.features > MOST_FEATURES:
            return
        if len(self) == MOST_MARKS:
            for place in range(MOST_MARKS - 2, -1, -2):
                del self._numbers[place * self._width : (place + 1) * self._width]
            self._spacing *= 2
        there_is_one, previous = divmod(mark.boundary, _WORD)
        fields = (mark.characters, mark.tokens << 1 | there_is_one, mark.features, _signed(previous))
        self._numbers.extend((*fields, *mark.sums))

    def back_to(self, characters: int) -> Mark | None:
        """The last mark at or before so many characters, or `None` for the beginning; those behind it are forgotten."""
        while self._numbers and self._numbers[-self._width] > characters:
            del self._numbers[-self._width :]
        if not self._numbers:
            return None
        position, tokens, features, previous, *sums = self._numbers[-self._width :]
        return Mark(position, tokens >> 1, features, (tokens & 1) * _WORD + previous % _WORD, sums)


def _signed(number: int) -> int:
    """The 32 bits as a number with a sign."""
    return number - _WORD if number >= _SIGN else number
