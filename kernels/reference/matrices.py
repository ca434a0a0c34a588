"""Matrix products and attention, in NumPy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kernels.arguments import Bytes, Floats

_EXACT = 2**24 // 128**2
"""Products of int8 whose sum a float32 holds exactly, in whatever order."""


def matmul(a: Floats, b: Floats, out: Floats) -> None:
    """a · b"""
    np.matmul(a, b, out=out)


def matmul_int8(a: Bytes, b: Bytes, out: NDArray[np.int32]) -> None:
    """a · b, by way of float32 products that are exact: those are fast in NumPy, and those of integers are not."""
    out[:] = 0
    for begin in range(0, a.shape[1], _EXACT):
        part = slice(begin, begin + _EXACT)
        out += (a[:, part].astype(np.float32) @ b[part].astype(np.float32)).astype(np.int32)


def flash_attention(  # noqa: PLR0913
    q: Floats, k: Floats, v: Floats, causal: bool, scale: float, out: Floats
) -> None:
    """One head after another, with all its scores at once."""
    (heads, n, _), (kv_heads, m, _) = q.shape, k.shape
    hidden = np.arange(m)[None, :] > np.arange(m - n, m)[:, None] if causal else None
    with np.errstate(invalid="ignore", over="ignore", under="ignore"):
        for head in range(heads):
            shared = head // (heads // kv_heads)
            scores = (q[head] @ k[shared].T) * np.float32(scale)
            if hidden is not None:
                scores[hidden] = -np.inf
            weights = np.exp(scores - scores.max(axis=1, keepdims=True))
            weights /= weights.sum(axis=1, keepdims=True)
            np.matmul(weights, v[shared], out=out[head])
