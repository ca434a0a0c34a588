"""Which words spoke for a route and which against: exact, since the score is a sum over them."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from app.routing.features import FeatureState, encode
from app.routing.scoring import Model, root
from app.routing.timeline import chunks

MOST_TOKENS = 2000
"""Of a longer text, only so many tokens are explained."""
SHOWN = 10

Weighted = list[tuple[str, float]]


def contributions(model: Model, text: str, route: str) -> dict[str, float]:
    """By token: what it added to the route's score, before temperature and bias, beyond its mean over all routes.

    A word's features count where the word ends; the pairs of a word with its neighbour count for the second.
    """
    state, by_token = FeatureState(), defaultdict[str, float](float)
    mass, last = 0.0, ""
    for number, token in enumerate([*chunks(text, 1), ""]):
        ends = token == "" or number >= MOST_TOKENS
        rows = state.take(encode("" if ends else token), last=ends)
        sums = model.table[rows].sum(0, dtype=np.int64).tolist()
        mass += model.mass(sums)
        last = token.strip().lower() or last
        by_token[last] += model.leaning(sums, route)
        if ends:
            break
    return {token: value / root(mass) for token, value in by_token.items()}


def strongest(found: dict[str, float]) -> tuple[Weighted, Weighted]:
    """At most `SHOWN` tokens for and as many against, strongest first."""
    ordered = sorted(found.items(), key=lambda item: -item[1])
    speaks_for = [item for item in ordered[:SHOWN] if item[1] > 0]
    return speaks_for, [item for item in ordered[: -SHOWN - 1 : -1] if item[1] < 0]
