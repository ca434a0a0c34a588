"""Tables, vectors to be compared, and rows of logits, in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.arguments import Array, Floats, Ids

_ROWS = 4096
"""Rows that are converted at once, so that a large table needs little memory beside it."""
_GROUPS = 1024
_BIT = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little")
_ADDEND = np.where(_BIT, np.float32(0), np.float32(-np.inf)).astype(np.float32)
"""By the value of a byte of the mask: what is added to the logits of its eight tokens."""


def highest(scores: NDArray[Any], k: int) -> Ids:
    """Where the k highest scores are, in falling order, of equals the lower place first. None may be NaN."""
    found = np.flatnonzero(scores >= _low_enough(scores, k))
    return found[np.argsort(-scores[found], kind="stable")[:k]].astype(np.int64)


def _low_enough(scores: NDArray[Any], k: int) -> Any:
    """A score that k of them reach, and not many more.

    Of the maxima of some groups, the one at place k is such a score, and it takes one pass over the row to find it.
    """
    groups = max(_GROUPS, k)
    if scores.size < 2 * groups:
        return np.partition(scores, scores.size - k)[scores.size - k]
    maxima = scores[: scores.size // groups * groups].reshape(-1, groups).max(axis=0)
    return np.partition(maxima, groups - k)[groups - k]


def cosines(rows: Array, query: Array, norms: Floats | None) -> Floats:
    """The cosine of every row with the query; 0 where one of them is zero, -inf where it is not a number."""
    scores = np.empty(len(rows), np.float32)
    exact = query.astype(np.float64)
    own = np.sqrt(exact @ exact)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for begin in range(0, len(rows), _ROWS):
            part = rows[begin : begin + _ROWS].astype(np.float64)
            lengths = np.sqrt(np.einsum("rd,rd->r", part, part)) if norms is None else norms[begin : begin + _ROWS]
            product = lengths * own
            scores[begin : begin + _ROWS] = np.where(product == 0, 0, part @ exact / product)
    return np.where(np.isnan(scores), np.float32(-np.inf), scores)


def similarity_topk(rows: Array, query: Array, norms: Floats | None, indices: Ids, scores: Floats) -> None:
    """The best rows, as many as `indices` has places."""
    found = cosines(rows, query, norms)
    indices[:] = highest(found, len(indices))
    scores[:] = found[indices]


def gather_accumulate(table: Array, ids: Ids, weights: Array | None, out: Array) -> bool:
    """The sum of rows, each times its weight if there are any; false if an id is outside of the table."""
    if ids.size and (ids.min() < 0 or ids.max() >= len(table)):
        return False
    rows = table[ids]
    if weights is None:
        np.sum(rows, axis=0, dtype=out.dtype, out=out)
    else:
        out[:] = weights @ rows.astype(out.dtype)
    return True


def apply_token_mask(logits: Floats, mask: NDArray[np.uint32], out: Floats) -> None:
    """-inf where the token's bit is not set."""
    bits = mask.astype("<u4").view(np.uint8)[: -(-logits.size // 8)]
    addends = _ADDEND[bits].reshape(-1)[: logits.size]
    with np.errstate(invalid="ignore"):
        np.add(logits, addends, out=out)
    odd = ~np.isfinite(logits)  # +inf and NaN would stay NaN
    if odd.any():
        out[odd] = np.where(addends[odd] == 0, logits[odd], -np.inf)


def logsumexp_topk(logits: Floats, indices: Ids, logprobs: Floats) -> float | None:
    """The logarithm of the sum of exponentials; `None` if it is not finite."""
    most = logits.max()
    if not np.isfinite(most):
        return None
    lse = float(most) + float(np.log(np.exp(logits - most).sum(dtype=np.float64)))
    indices[:] = highest(logits, len(indices))
    logprobs[:] = logits[indices] - lse
    return lse
