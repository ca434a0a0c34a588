"""What the kernels should compute, in float64 and as plainly as it can be said; and how near they must come."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIZES = (1, 3, 4, 5, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 1000, 4096)
RELATIVE = 1e-5
LEAST_NORMAL = float(np.finfo(np.float32).tiny)

Array = NDArray[Any]


def floats(rng: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    return rng.standard_normal(shape).astype(np.float32)


def bytes_of(rng: np.random.Generator, *shape: int) -> NDArray[np.int8]:
    return rng.integers(-128, 128, shape).astype(np.int8)


def shifted(x: Array, by: int = 1) -> Array:
    """A copy that begins `by` numbers after a new array's beginning, so that its vectors are not aligned."""
    room = np.empty(x.size + by, x.dtype)
    copy = room[by:].reshape(x.shape)
    copy[...] = x
    return copy


def near(found: Array, expected: Array, scale: Array | float | None = None, relative: float = RELATIVE) -> None:
    """Within `relative` of the expected numbers, or of `scale` where terms of that size cancel."""
    expected = np.asarray(expected, np.float64)
    allowed = relative * np.abs(expected if scale is None else np.broadcast_to(scale, expected.shape)) + LEAST_NORMAL
    with np.errstate(invalid="ignore"):
        wrong = ~(np.abs(found - expected) <= allowed) & ~(np.isnan(found) & np.isnan(expected)) & (found != expected)
    assert found.shape == expected.shape
    assert not wrong.any(), (np.argwhere(wrong)[:5], found[wrong][:5], expected[wrong][:5])


def softmax(x: Array) -> Array:
    with np.errstate(invalid="ignore"):
        powers = np.exp(x.astype(np.float64) - x.max(axis=-1, keepdims=True))
    found: Array = powers / powers.sum(axis=-1, keepdims=True)
    return found


def rmsnorm(x: Array, weight: Array, eps: float) -> Array:
    wide = x.astype(np.float64)
    found: Array = wide / np.sqrt((wide * wide).mean(axis=-1, keepdims=True) + eps) * weight
    return found


def silu(x: Array) -> Array:
    wide = x.astype(np.float64)
    with np.errstate(over="ignore"):
        found: Array = wide / (1 + np.exp(-wide))
    return found


def gelu(x: Array) -> Array:
    wide = x.astype(np.float64)
    found: Array = 0.5 * wide * (1 + np.tanh(math.sqrt(2 / math.pi) * (wide + 0.044715 * wide**3)))
    return found


def rope(x: Array, base: float, interleaved: bool) -> Array:
    """Every pair as a complex number, times a point on the unit circle."""
    seq, _, d = x.shape
    wide = x.astype(np.float64)
    half = d // 2
    low, high = (wide[..., 0::2], wide[..., 1::2]) if interleaved else (wide[..., :half], wide[..., half:])
    turns = np.exp(1j * np.outer(np.arange(seq), base ** (-2 * np.arange(half) / d)))
    turned = (low + 1j * high) * turns[:, None, :]
    found = np.empty_like(wide)
    if interleaved:
        found[..., 0::2], found[..., 1::2] = turned.real, turned.imag
    else:
        found[..., :half], found[..., half:] = turned.real, turned.imag
    return found


def attention(q: Array, k: Array, v: Array, causal: bool, scale: float) -> Array:
    """One query after another."""
    (heads, n, d), (kv_heads, m, _) = q.shape, k.shape
    found = np.zeros((heads, n, d))
    for head in range(heads):
        shared = head // (heads // kv_heads)
        for i in range(n):
            seen = m - n + i + 1 if causal else m
            scores = k[shared, :seen].astype(np.float64) @ q[head, i] * scale
            found[head, i] = softmax(scores) @ v[shared, :seen].astype(np.float64)
    return found


def cosines(rows: Array, query: Array) -> Array:
    wide, exact = rows.astype(np.float64), query.astype(np.float64)
    product = np.linalg.norm(wide, axis=1) * np.linalg.norm(exact)
    found: Array = np.divide(wide @ exact, product, out=np.zeros(len(rows)), where=product > 0)
    return found


def logsumexp(x: Array) -> float:
    wide = x.astype(np.float64)
    return float(wide.max() + np.log(np.exp(wide - wide.max()).sum()))
