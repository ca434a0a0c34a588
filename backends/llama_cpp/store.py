"""Prefixes that have left the KV cache: copies of their cells in ordinary memory, from where they come back quickly.

Cells that no request uses still cost every decode step a little, as attention has to pass over them. Out here they cost
nothing but memory, and to copy them back is far cheaper than to evaluate them again.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from backends.llama_cpp.prefix import shared_length


@dataclass(frozen=True, eq=False, slots=True)
class Stored:
    """The tokens of a sequence, and its cells as llama.cpp wrote them out."""

    key: Hashable
    tokens: list[int] = field(repr=False)
    cells: NDArray[np.uint8] = field(repr=False)


class PrefixStore:
    """Stored sequences, the least recently used first to go. Counts tokens, since cells are all of one size."""

    def __init__(self) -> None:
        self.tokens = 0
        """Tokens of all that is stored."""
        self._stored: dict[Stored, None] = {}  # in the order of their last use

    def match(
        self, key: Hashable, tokens: list[int], is_usable: Callable[[int, int], bool] = lambda _length, _copied: True
    ) -> tuple[int, Stored | None]:
        """How long a prefix of `tokens` is stored, and the shortest sequence that has it.

        `is_usable` gets the length of a prefix and that of the sequence which would have to be copied for it.
        """
        found = [(shared_length(stored.tokens, tokens), stored) for stored in self._stored if stored.key == key]
        usable = [(length, stored) for length, stored in found if length and is_usable(length, len(stored.tokens))]
        return max(usable, key=lambda pair: (pair[0], -len(pair[1].tokens)), default=(0, None))

    def add(self, stored: Stored) -> None:
        """Keep a sequence. Those that it continues are not needed any more."""
        for other in [other for other in self._stored if other.key == stored.key]:
            if shared_length(other.tokens, stored.tokens) == len(other.tokens):
                self._remove(other)
        self._stored[stored] = None
        self.tokens += len(stored.tokens)

    def use(self, stored: Stored) -> None:
        """Let a sequence be the last to go; harmless if it has gone already."""
        if stored in self._stored:
            del self._stored[stored]
            self._stored[stored] = None

    def discard(self, stored: Stored) -> None:
        """Drop a sequence that is of no use; harmless if it has gone already."""
        if stored in self._stored:
            self._remove(stored)

    def shrink(self, tokens: int) -> None:
        """Drop what was not used for longest until at most so many tokens are left."""
        while self.tokens > max(tokens, 0):
            self._remove(next(iter(self._stored)))

    def _remove(self, stored: Stored) -> None:
        del self._stored[stored]
        self.tokens -= len(stored.tokens)
