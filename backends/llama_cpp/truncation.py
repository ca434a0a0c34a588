"""What min-p, top-k, typical-p and top-p leave of a distribution.

The first two look at logits, the others at weights: probabilities times any one factor, in float32. Results are places
in the given row. Nothing here sorts a whole vocabulary: the numbers that decide are few, or soon made few.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from backends.llama_cpp.logits import Ids, Logits, candidates, highest

Weights = NDArray[np.float32]
"""Not negative, not NaN; the sum is positive and finite."""

Keys = NDArray[np.int32]
"""Integers in the order of something else."""

_FIRST_LOOK = 256
"""The most probable tokens, which in most cases weigh enough."""
_SECOND_LOOK = 3 << 23
"""If they do not, those that weigh down to an eighth of the lightest of them: three steps of a float's exponent."""
_FEW = 1024
"""So many are sorted as they are."""
_BUCKET_BITS = 16
"""Lower bits of a float32 that do not tell one bucket from another: 128 buckets for each power of two."""


def top_k(logits: Logits, k: int) -> Ids:
    """The `k` highest logits in falling order, of equals the lower ids; all if there are not more."""
    return highest(logits, min(k, logits.size))


def lowest_by_min_p(highest: float, temperature: float, min_p: float) -> float:
    """The lowest logit that is at least `min_p` times as probable as the highest; at most that one."""
    return highest + temperature * math.log(min(min_p, 1.0))


def top_p(weights: Weights, share: float) -> Ids:
    """The most probable ones that together have at least `share` of the whole, as few as do, of equals the lower."""
    total = float(weights.sum())
    wanted = share * total
    # Even together, those that are lighter than this do not weigh more than what may be missing.
    return _leading(_order(weights), weights, wanted, lightest=(total - wanted) / weights.size)


def typical_p(weights: Weights, share: float) -> Ids:
    """As few as have `share` of the whole, of those whose information is closest to the expected one.

    Of equally close ones those at lower places. Source: https://arxiv.org/abs/2202.00666
    """
    total = float(weights.sum())
    # Up to one constant these are minus the information. What weighs nothing contributes nothing, whatever stands here.
    logs = np.log(np.maximum(weights, np.finfo(np.float32).tiny))
    expected = float((weights * logs).sum()) / total
    distance: Weights = np.abs(logs - np.float32(expected))
    return _leading(-_order(distance), weights, share * total, lightest=0.0)


def _order(numbers: Weights) -> Keys:
    """Integers in the same order: bit patterns of floats that are not negative rise with them."""
    return numbers.view(np.int32)


def _leading(keys: Keys, weights: Weights, wanted: float, *, lightest: float) -> Ids:
    """Places of the highest keys, as few as weigh as much as `wanted`; at least one.

    Those that are not heavier than `lightest` are not needed.
    """
    if keys.size <= _FEW:
        return _first_of_few(keys, weights, wanted)
    found = candidates(keys, _FIRST_LOOK)
    if weights[found].sum() < wanted:
        found = np.flatnonzero(keys >= keys[found].min() - _SECOND_LOOK)
        if weights[found].sum() < wanted:
            found = np.flatnonzero(weights > lightest)
    return found[_first(keys[found], weights[found], wanted)]


def _first(keys: Keys, weights: Weights, wanted: float) -> Ids:
    """The same, of these alone. Of many only those are sorted that share a bucket with the last one."""
    if keys.size <= _FEW:
        return _first_of_few(keys, weights, wanted)
    bucket = (keys >> _BUCKET_BITS).astype(np.intp)  # converted here, since bincount takes far longer to
    bucket -= bucket.min()
    reached = np.cumsum(np.bincount(bucket, weights.astype(np.float64))[::-1])
    above = min(int(reached.searchsorted(wanted)), reached.size - 1)  # so many buckets are taken whole
    last = reached.size - 1 - above
    disputed = np.flatnonzero(bucket == last)
    missing = wanted - float(reached[above - 1]) if above else wanted
    chosen = disputed[_first_of_few(keys[disputed], weights[disputed], missing)]
    return np.concatenate((np.flatnonzero(bucket > last), chosen))


def _first_of_few(keys: Keys, weights: Weights, wanted: float) -> Ids:
    """The same, by sorting."""
    order = np.argsort(-keys, kind="stable")
    reached = np.cumsum(weights[order], dtype=np.float64)
    return order[: int(reached.searchsorted(wanted)) + 1]
