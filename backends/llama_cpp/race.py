"""A draw by weights, as a race: exponential times divided by weights, and the first one wins.

Each token has its own time for each key, whoever else takes part. So a seed goes on drawing the same tokens where the
weights differ a little, as logits do with the shape of the batch that they were computed in. A point on a line of
cumulated weights would not: what one weight gains moves all tokens behind it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backends.llama_cpp.logits import Ids
from backends.llama_cpp.truncation import Weights

_FEW = 4096
"""So many tokens race at once."""
_BLOCK = 256
_FIRST_BLOCK = 2**40
"""What the number of a block begins with: no token has it."""
_FACTORS = tuple(map(np.uint64, (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)))
_SHIFTS, _LAST_SHIFT = (np.uint64(30), np.uint64(27)), np.uint64(31)
_BEYOND_A_DOUBLE, _ONE = np.uint64(11), np.uint64(1)


def draw(weights: Weights, key: int, ids: Ids | None = None) -> int:
    """The id of one of the `weights`, the more probable the heavier it is; `ids` are theirs, or all from 0 on.

    `key`, of 64 random bits, decides. Of many, blocks race by the sums of their weights, and then the tokens of one
    block: the time of every token would take longer than anything else.
    """
    if ids is not None and ids.size <= _FEW:
        return int(ids[_first(weights, ids, key)])
    if ids is not None:
        few, weights = weights, np.zeros(ids.max() + 1, np.float32)
        weights[ids] = few
    whole = weights.size // _BLOCK * _BLOCK
    sums = np.append(np.einsum("ij->i", weights[:whole].reshape(-1, _BLOCK)), weights[whole:].sum())
    start = _BLOCK * _first(sums, np.arange(_FIRST_BLOCK, _FIRST_BLOCK + sums.size), key)
    block = weights[start : start + _BLOCK]
    return start + _first(block, np.arange(start, start + block.size), key)


def _first(weights: Weights, numbers: Ids, key: int) -> int:
    return int((weights / _times(numbers, key)).argmax())  # who takes the least time for its weight


def _times(numbers: Ids, key: int) -> NDArray[np.float64]:
    """An exponentially distributed time for each number: SplitMix64 (https://doi.org/10.1145/2714064.2660195)."""
    mixed = numbers.view(np.uint64) * _FACTORS[0]
    mixed += np.uint64(key)
    for shift, factor in zip(_SHIFTS, _FACTORS[1:], strict=True):
        mixed ^= mixed >> shift
        mixed *= factor
    mixed ^= mixed >> _LAST_SHIFT
    # Odd numbers of 53 bits: neither 0 nor 1, so that no time is 0 or infinite.
    odd = (mixed >> _BEYOND_A_DOUBLE) | _ONE
    return np.asarray(-np.log(odd * 2.0**-53), np.float64)
