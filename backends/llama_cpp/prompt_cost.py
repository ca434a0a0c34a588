"""What a prompt token costs that is evaluated without decodes beside it, by how many tokens precede it.

A straight line: the weights cost the same for every token, attention as much as there is to look at. It goes through
the latest chunks by medians (Theil and Sen), since now and then one has to wait for the machine.
"""

from __future__ import annotations

import math
from collections import deque
from itertools import combinations
from statistics import median

WHOLE_CHUNK = 64
"""Tokens from which on a chunk tells what others of any size will cost; fewer cost more each."""

_REMEMBERED = 12
_LEAST_S = 1e-9
_APART = 256
"""Tokens between two chunks from which on they tell how steep the line is, and not how noisy the machine."""


class PromptCost:
    """Learns from chunks: `tokens` of them after `depth` others took so many `seconds`."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, float]] = deque(maxlen=_REMEMBERED)
        self._first_s = self._slope_s = 0.0
        self._is_sure = False

    @property
    def known(self) -> bool:
        """Whether anything was seen yet; all costs are 0 before."""
        return bool(self._seen)

    def observe(self, tokens: int, depth: int, seconds: float) -> None:
        """Learn from one chunk. A short one counts only as long as no whole one was seen."""
        sure = tokens >= WHOLE_CHUNK
        if self._is_sure and not sure:
            return
        if sure and not self._is_sure:
            self._seen.clear()
        self._is_sure = sure
        self._seen.append((depth + tokens / 2, seconds / tokens))
        slopes = [
            (later[1] - earlier[1]) / (later[0] - earlier[0])
            for earlier, later in combinations(self._seen, 2)
            if abs(later[0] - earlier[0]) >= _APART
        ]
        if slopes:
            self._slope_s = max(0.0, median(slopes))
        self._first_s = max(_LEAST_S, median(cost - self._slope_s * at for at, cost in self._seen))

    def token(self, depth: float) -> float:
        """Seconds of one token after `depth` others."""
        return self._first_s + self._slope_s * depth

    def prompt(self, tokens: int, depth: int) -> float:
        """Seconds of so many tokens after `depth` others."""
        return tokens * self.token(depth + tokens / 2)

    def tokens_in(self, seconds: float, depth: int) -> float:
        """How many tokens after `depth` others take so long; the cost has to be known."""
        first_s = self.token(depth)
        # The root of tokens * (first_s + slope_s * tokens / 2) = seconds, in the form that allows a slope of 0.
        return 2 * seconds / (first_s + math.sqrt(first_s**2 + 2 * self._slope_s * seconds))
