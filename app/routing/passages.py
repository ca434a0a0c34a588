"""When a text may be decided before its end: thresholds by first passage, on texts that were left out of the fit.

Committing as soon as a probability first passes a threshold is optional stopping: among the moments at which it could
have passed, the unlucky ones come first. So what counts here is each text's first passage and nothing after it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from app.routing.decisions import EARLY_LENGTHS, NEVER, wilson_lower

Point = tuple[int, float, bool]
"""Tokens read, confidence, and whether the same route was best in the end."""
AGREEMENT = 0.95
"""How often an early decision must be the one on the whole text, by Wilson's lower bound."""
_CANDIDATES = tuple(round(float(value), 2) for value in np.arange(0.99, 0.195, -0.01))


def early_thresholds(texts: Sequence[Sequence[Point]]) -> tuple[float, ...]:
    """Per stretch of `EARLY_LENGTHS`, the least confidence that decides; of texts that no earlier stretch decided."""
    waiting, found = list(texts), []
    for begin, end in zip(EARLY_LENGTHS, [*EARLY_LENGTHS[1:], np.iinfo(np.int64).max], strict=True):
        here = [[point for point in points if begin <= point[0] < end] for points in waiting]
        limit = _least(here)
        waiting = [points for points, mine in zip(waiting, here, strict=True) if first_passage(mine, limit) is None]
        found.append(limit)
    return tuple(found)


def first_passage(points: Sequence[Point], limit: float) -> Point | None:
    """The first point whose confidence reaches the limit."""
    return next((point for point in points if point[1] >= limit), None)


def _least(texts: Sequence[Sequence[Point]]) -> float:
    """The least candidate whose first passages agree often enough, before the first that fails after one that did."""
    found = NEVER
    for limit in _CANDIDATES:
        passed = [point for points in texts if (point := first_passage(points, limit)) is not None]
        if wilson_lower(sum(point[2] for point in passed), len(passed)) >= AGREEMENT:
            found = limit
        elif found != NEVER:
            break
    return found
