"""Functions over rows of float32: softmax, RMSNorm, SwiGLU, GELU, RoPE."""

from __future__ import annotations

import numpy as np

from kernels.arguments import FLOAT32, Floats, address, array, count, in_place, shaped
from kernels.levels import functions
from kernels.reference import rows as reference


def softmax(x: Floats, out: Floats | None = None) -> Floats:
    """exp(x) over its sum, along the last axis of `x[..., n]`.

    The relative error is below 1e-5. Results under the least normal float32 (1.2e-38) may be 0. A row with NaN or +inf,
    or without a finite value, becomes NaN. `out` may be `x`.
    """
    array("x", x, FLOAT32)
    out = in_place("out", out, x)
    native, n = functions(), x.shape[-1]
    if native is None:
        reference.softmax(x, out)
    else:
        native["softmax"](address(x), address(out), x.size // n, n)
    return out


def rmsnorm(
    x: Floats, weight: Floats | None, eps: float = 1e-6, residual: Floats | None = None, out: Floats | None = None
) -> Floats:
    """`x[..., d]` over the root of the mean of its squares plus `eps`, times `weight[d]` if that is not `None`.

    With `residual` (of the shape of `x`, written to) the sum of both is taken in place of `x`, and `residual` holds it
    afterwards. `out` may be `x`. (Zhang and Sennrich, 2019.)
    """
    array("x", x, FLOAT32)
    d = x.shape[-1]
    if weight is not None:
        shaped("weight", weight, FLOAT32, (d,))
    if not 0 <= eps < np.inf:
        raise ValueError(f"eps must be a number that is not negative, not {eps!r}")
    if residual is not None:
        shaped("residual", residual, FLOAT32, x.shape)
        in_place("residual", residual, residual, x)
    others = [other for other in (weight, residual) if other is not None]
    out = in_place("out", out, x, *others)
    native = functions()
    if native is None:
        reference.rmsnorm(x, weight, eps, residual, out)
    else:
        weights = None if weight is None else address(weight)
        sums = None if residual is None else address(residual)
        native["rmsnorm"](address(x), weights, sums, address(out), x.size // d, d, eps)
    return out


def swiglu(gate: Floats, up: Floats, out: Floats | None = None) -> Floats:
    """gate · sigmoid(gate) · up, for two arrays of any one shape. `out` may be one of them."""
    array("gate", gate, FLOAT32)
    shaped("up", up, FLOAT32, gate.shape)
    out = in_place("out", out, up) if out is not None and out is up else in_place("out", out, gate)
    native = functions()
    if native is None:
        reference.swiglu(gate, up, out)
    else:
        native["swiglu"](address(gate), address(up), address(out), gate.size)
    return out


def gelu(x: Floats, out: Floats | None = None) -> Floats:
    """0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))), as llama.cpp and GPT-2 have it. `out` may be `x`."""
    array("x", x, FLOAT32)
    out = in_place("out", out, x)
    native = functions()
    if native is None:
        reference.gelu(x, out)
    else:
        native["gelu"](address(x), address(out), x.size)
    return out


def rope_tables(n: int, d: int, base: float = 10_000.0) -> tuple[Floats, Floats]:
    """Cosines and sines, each `[n, d / 2]`: of position · base ** (-2 i / d), for positions from 0 to n - 1."""
    count("n", n)
    if count("d", d) % 2:
        raise ValueError(f"d must be even, not {d}")
    if not 0 < base < np.inf:
        raise ValueError(f"base must be a positive number, not {base!r}")
    angles = np.arange(n)[:, None] * base ** (-np.arange(0, d, 2) / d)
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)


def rope(x: Floats, cos: Floats, sin: Floats, interleaved: bool = False, out: Floats | None = None) -> Floats:
    """Rotary positions: every pair of `x[seq, heads, d]` turned by the angle of its position.

    `cos` and `sin` are `[seq, d / 2]`, for instance rows of `rope_tables`. A pair is (i, i + d / 2), as in weights of
    Hugging Face, or with `interleaved` (2 i, 2 i + 1), as in GGUF files of Llama. `out` may be `x`. (Su et al., 2021.)
    """
    array("x", x, FLOAT32, 3)
    seq, heads, d = x.shape
    if d % 2:
        raise ValueError(f"x must have an even number of columns, not {d}")
    shaped("cos", cos, FLOAT32, (seq, d // 2))
    shaped("sin", sin, FLOAT32, (seq, d // 2))
    out = in_place("out", out, x, cos, sin)
    native = functions()
    if native is None:
        reference.rope(x, cos, sin, interleaved, out)
    else:
        native["rope"](address(x), address(cos), address(sin), address(out), seq, heads, d, bool(interleaved))
    return out
