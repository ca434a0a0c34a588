"""When a text may be decided before its end: fitted on texts that were left out, a threshold by first passage.

Committing as soon as a probability first passes a threshold is optional stopping: among the moments at which it could
have passed, the unlucky ones come first. So what counts here is each text's first passage and nothing after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.routing.agreement import Agreement, signals
from app.routing.decisions import NEVER, wilson_lower
from app.routing.regression import logistic

Passing = tuple[float, bool]
"""A probability of agreement, and whether the same route was best in the end."""
AGREEMENT = 0.95
"""How often an early decision must be the one on the whole text, by Wilson's lower bound."""
EARLY_SHARE = 0.35
"""The part of a text in which an early decision is worth having."""
_CANDIDATES = tuple(round(float(value), 3) for value in np.arange(0.995, 0.495, -0.005))


@dataclass(frozen=True, slots=True)
class Point:
    """A moment at which a text could be decided: the route that is best, and whether it was best in the end."""

    route: int
    probabilities: tuple[float, ...]
    tokens: int
    agrees: bool


def fit_agreement(texts: Sequence[Sequence[Point]], importance: Sequence[float], routes: Sequence[str]) -> Agreement:
    """From the points of texts and how much each text counts; without points, confidence is all there is."""
    points = [(p, share / len(mine)) for mine, share in zip(texts, importance, strict=True) for p in mine]
    if not points or len(routes) < 2:
        return Agreement()
    of_route = np.eye(len(routes))[[point.route for point, _ in points]]
    measured = np.array([signals(point.probabilities, point.tokens) for point, _ in points])
    agrees = np.array([float(point.agrees) for point, _ in points])
    found = logistic(np.column_stack([measured, of_route]), agrees, np.array([share for _, share in points]))
    first, second, third = found[1:4].tolist()
    intercepts = (found[0] + found[4:]).tolist()
    return Agreement(dict(zip(routes, intercepts, strict=True)), (first, second, third))


def passings(texts: Sequence[Sequence[Point]], agreement: Agreement, routes: Sequence[str]) -> list[list[Passing]]:
    """Per text, what its points come to."""
    return [[(agreement.probability(routes[p.route], p.probabilities, p.tokens), p.agrees) for p in t] for t in texts]


def early_threshold(texts: Sequence[Sequence[Passing]], importance: Sequence[float]) -> float:
    """The least candidate whose first passages agree often enough, before the first that fails after one that did.

    Texts of unequal `importance` are worth fewer equal ones (Kish's effective sample size).
    """
    found = NEVER
    for limit in _CANDIDATES:
        firsts = [(first_passage(points, limit), share) for points, share in zip(texts, importance, strict=True)]
        passed = [(point[1], share) for point, share in firsts if point is not None]
        total = sum(share for _, share in passed)
        count = total * total / sum(share * share for _, share in passed) if passed else 0.0
        right = count * sum(share for agrees, share in passed if agrees) / max(total, 1e-12)
        if wilson_lower(right, count) >= AGREEMENT:
            found = limit
        elif found != NEVER:
            break
    return found


def first_passage(points: Sequence[Passing], limit: float) -> Passing | None:
    """The first point whose probability reaches the limit."""
    return next((point for point in points if point[0] >= limit), None)
