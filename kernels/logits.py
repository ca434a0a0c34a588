"""Rows of logits: which tokens may come, and how probable the best are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kernels.arguments import FLOAT32, UINT32, Floats, Ids, address, array, count, in_place, output
from kernels.levels import functions
from kernels.reference import lookups as reference


def apply_token_mask(logits: Floats, mask: NDArray[np.uint32], out: Floats | None = None) -> Floats:
    """`logits[n]`, with -inf where the token's bit in `mask[ceil(n / 32)]` is not set; lowest bit first.

    `out` may be the logits. The mask may have more words than the logits need.
    """
    array("logits", logits, FLOAT32, 1)
    array("mask", mask, UINT32, 1)
    if mask.size < -(-logits.size // 32):
        raise ValueError(f"mask has {mask.size} words, too few for {logits.size} logits")
    out = in_place("out", out, logits, mask)
    native = functions()
    if native is None:
        reference.apply_token_mask(logits, mask, out)
    else:
        native["token_mask"](address(logits), address(mask), address(out), logits.size)
    return out


def logsumexp_topk(logits: Floats, k: int, out: tuple[Ids, Floats] | None = None) -> tuple[float, Ids, Floats]:
    """ln Σ exp(logits), and the ids (int64) and log-probabilities (float32) of the k highest, best first.

    `logits[n]` are float32. Of equal ones the lower id comes first; there are fewer than k results if there are fewer
    logits. NaN counts as -inf, and beside +inf everything else does. Where nothing else is left, the sum is -inf, and
    so is every log-probability. `out` is a pair of arrays.
    """
    array("logits", logits, FLOAT32, 1)
    k = min(count("k", k), logits.size)
    if out is None:
        indices, logprobs = np.empty(k, np.int64), np.empty(k, np.float32)
    elif not isinstance(out, tuple) or len(out) != 2:
        raise ValueError("out must be a pair of arrays, for ids and for log-probabilities")
    else:
        indices = output("out[0]", out[0], np.int64, (k,), logits)
        logprobs = output("out[1]", out[1], np.float32, (k,), logits, indices)
    lse = _computed(logits, indices, logprobs)
    return (_special(logits, indices, logprobs) if lse is None else lse), indices, logprobs


def _computed(logits: Floats, indices: Ids, logprobs: Floats) -> float | None:
    """The sum; `None` if it is not finite, and then nothing was computed."""
    native = functions()
    if native is None:
        return None if np.isnan(logits).any() else reference.logsumexp_topk(logits, indices, logprobs)
    lse = np.empty(1, np.float64)
    at = (address(lse), address(indices), address(logprobs))
    failed = native["logsumexp_topk"](address(logits), logits.size, len(indices), *at)
    return None if failed else float(lse[0])


def _special(logits: Floats, indices: Ids, logprobs: Floats) -> float:
    """The sum where NaN or infinities decide."""
    nothing = np.float32(-np.inf)
    certain = np.isposinf(logits)
    cleaned = (
        np.where(certain, np.float32(0), nothing) if certain.any() else np.where(np.isnan(logits), nothing, logits)
    )
    lse = _computed(cleaned, indices, logprobs)
    if lse is None:  # nothing is possible
        indices[:] = np.arange(len(indices))
        logprobs[:] = nothing
        return -np.inf
    return np.inf if certain.any() else lse
