"""Points of a text to which a session can go back, a few bytes each."""

from __future__ import annotations

from array import array
from sys import byteorder
from typing import NamedTuple

MOST_MARKS = 64
FIRST_SPACING = 256
"""Characters between two marks at first; twice as many whenever there would be too many marks."""
MOST = 2**23
"""Characters and features below which everything fits into a mark."""
_HEAD = 4
"""Numbers in front of the sums: four of three bytes, and the hash of the word before."""
_THREE = 2**24 - 1


class Mark(NamedTuple):
    """What a session knows right after a space: characters, tokens and features so far, `boundary` of the features'
    state, and the sums of the table's rows, of which the last is no greater than the features."""

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
        self._width = _HEAD + sums - 1
        self._spacing = FIRST_SPACING

    def __len__(self) -> int:
        return len(self._numbers) // self._width

    def due(self, characters: int) -> bool:
        """Whether there should be a mark at or before so many characters."""
        return characters - self._last() >= self._spacing

    def _last(self) -> int:
        """Characters before the last mark."""
        return self._head(len(self) - 1) & _THREE if self._numbers else 0

    def _head(self, place: int) -> int:
        """All in front of a mark's sums."""
        begin = place * self._width
        return int.from_bytes(self._numbers[begin : begin + _HEAD].tobytes(), byteorder)

    def add(self, mark: Mark) -> None:
        """Keep the mark, which lies behind all others. Every second one makes room where there are too many."""
        if max(mark.characters, mark.features) >= MOST:
            return
        if len(self) == MOST_MARKS:
            for place in range(MOST_MARKS - 2, -1, -2):
                del self._numbers[place * self._width : (place + 1) * self._width]
            self._spacing *= 2
        there_is_one, previous = divmod(mark.boundary, 2**32)
        threes = (mark.characters, mark.tokens << 1 | there_is_one, mark.features, mark.sums[-1])
        head = sum(number << 24 * place for place, number in enumerate(threes)) | previous << 96
        self._numbers.frombytes(head.to_bytes(16, byteorder))
        self._numbers.extend(mark.sums[:-1])

    def back_to(self, characters: int) -> Mark | None:
        """The last mark at or before so many characters, or `None` for the beginning; those behind it are forgotten."""
        while self._numbers and self._last() > characters:
            del self._numbers[-self._width :]
        if not self._numbers:
            return None
        head = self._head(len(self) - 1)
        position, tokens, features, unseen = (head >> 24 * place & _THREE for place in range(4))
        boundary = (tokens & 1) << 32 | head >> 96
        return Mark(position, tokens >> 1, features, boundary, [*self._numbers[_HEAD - self._width :], unseen])
