"""Rows of logits: which numbers in them mean nothing, and where the highest are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Logits = NDArray[np.float32]
"""One row of logits, as long as the vocabulary. It is read and never written, unless a function says so."""

Ids = NDArray[np.intp]
"""Token ids, or other places in a row."""

_GROUPS = 1024


def cleaned(logits: Logits) -> Logits:
    """A copy that can be computed with: NaN is as impossible as `-inf`, and beside `+inf` everything else is."""
    nothing = np.float32(-np.inf)
    certain = np.isposinf(logits)
    if certain.any():
        return np.where(certain, np.float32(0), nothing)
    return np.where(np.isnan(logits), nothing, logits)


def highest(scores: NDArray[Any], count: int) -> Ids:
    """Where the `count` highest scores are, in falling order, of equals the lower place first. None may be NaN."""
    if count <= 0:
        return np.empty(0, np.intp)
    found = candidates(scores, count)
    # Candidates are in order of their places, and a stable sort keeps it among equals.
    return found[np.argsort(-scores[found], kind="stable")[:count]]


def candidates(scores: NDArray[Any], count: int) -> Ids:
    """Places in rising order, few in most cases, with the `count` highest scores among them and all above the lowest.

    The maximum of each of some groups is a score itself, so the score at place `count` of the whole row is not below
    the maximum at that place. Columns of a reshaped row as groups make this one pass over memory.
    """
    groups = max(_GROUPS, count)
    if scores.size < 2 * groups:
        return np.arange(scores.size)
    maxima = scores[: scores.size // groups * groups].reshape(-1, groups).max(axis=0)
    threshold = np.partition(maxima, groups - count)[groups - count]
    if threshold == -np.inf:
        # A mask has left almost nothing. Of what is impossible the lowest ids count, and they are below `count`.
        return np.union1d(np.flatnonzero(scores > -np.inf), np.arange(count))
    return np.flatnonzero(scores >= threshold)
