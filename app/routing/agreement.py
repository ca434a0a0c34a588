"""How probable it is that the whole text will get the route that its beginning has: what early decisions go by.

Confidence alone says how sure the route is of what was read, not of what is to come: a beginning about everyday things
is `general` until the matter comes up. So the route counts, its distance from the second, and how much was read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec

_LEAST = 1e-9

Weights = tuple[float, float, float]


def signals(probabilities: Sequence[float], tokens: int) -> Weights:
    """Log odds of the best of two or more routes, its log ratio to the second, and the log of the tokens read."""
    second, best = sorted(probabilities)[-2:]
    return math.log(best / max(1 - best, _LEAST)), math.log(best / max(second, _LEAST)), math.log(tokens + 1)


class Agreement(msgspec.Struct, frozen=True):
    """A logistic regression over `signals` with an intercept for each route that may be best."""

    by_route: Mapping[str, float] = {}
    weights: Weights = (1.0, 0.0, 0.0)

    def probability(self, route: str, probabilities: Sequence[float], tokens: int) -> float:
        """That the whole text's best route is this one, the best so far; a new route is trusted like the least."""
        if len(probabilities) < 2:
            return 1.0
        intercept = self.by_route.get(route, min(self.by_route.values(), default=0.0))
        z = intercept + sum(w * x for w, x in zip(self.weights, signals(probabilities, tokens), strict=True))
        return 1 / (1 + math.exp(-max(-700.0, min(z, 700.0))))
