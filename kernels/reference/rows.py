"""Functions over rows of float32, in NumPy."""

from __future__ import annotations

import numpy as np

from kernels.arguments import Floats


def softmax(x: Floats, out: Floats) -> None:
    """Rows of the last axis; a row with NaN or +inf, or without a finite value, becomes NaN."""
    with np.errstate(invalid="ignore", over="ignore", under="ignore"):
        np.subtract(x, x.max(axis=-1, keepdims=True), out=out)
        np.exp(out, out=out)
        np.divide(out, out.sum(axis=-1, keepdims=True, dtype=np.float64), out=out, casting="unsafe")


def rmsnorm(x: Floats, weight: Floats | None, eps: float, residual: Floats | None, out: Floats) -> None:
    """Rows of the last axis; with `residual` it becomes x + residual first."""
    if residual is not None:
        residual += x
        x = residual
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.square(x, dtype=np.float64).mean(axis=-1, keepdims=True)
        np.multiply(x, 1.0 / np.sqrt(squares + eps), out=out, casting="unsafe")
        if weight is not None:
            np.multiply(out, weight, out=out)


def _sigmoid(x: Floats) -> Floats:
    with np.errstate(over="ignore"):
        found: Floats = np.float32(1) / (np.float32(1) + np.exp(-x))
        return found


def swiglu(gate: Floats, up: Floats, out: Floats) -> None:
    """gate · sigmoid(gate) · up"""
    np.multiply(gate * _sigmoid(gate), up, out=out)


def gelu(x: Floats, out: Floats) -> None:
    """The tanh form, as x · sigmoid(2 u)."""
    with np.errstate(over="ignore"):
        inner = x * (np.float32(0.0713548163) * (x * x) + np.float32(1.59576912))
    np.multiply(x, _sigmoid(inner), out=out)


def rope(x: Floats, cos: Floats, sin: Floats, interleaved: bool, out: Floats) -> None:
    """Pairs of the last axis, turned by the angles of their position."""
    half = x.shape[2] // 2
    first, second = (slice(0, None, 2), slice(1, None, 2)) if interleaved else (slice(0, half), slice(half, None))
    low, high = x[:, :, first], x[:, :, second]
    c, s = cos[:, None, :], sin[:, None, :]
    turned_low, turned_high = low * c - high * s, low * s + high * c
    out[:, :, first], out[:, :, second] = turned_low, turned_high
