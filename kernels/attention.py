"""Attention without a matrix of scores."""

from __future__ import annotations

import math

from kernels.arguments import FLOAT32, Floats, address, array, in_place, shaped
from kernels.levels import functions
from kernels.reference import matrices as reference


def flash_attention(  # noqa: PLR0913
    q: Floats, k: Floats, v: Floats, causal: bool = True, scale: float | None = None, out: Floats | None = None
) -> Floats:
    """softmax(scale q k^T) v for every head: `q[heads, n, d]`, `k` and `v[kv_heads, m, d]` to `[heads, n, d]`.

    `heads` is a multiple of `kv_heads`; neighbouring heads share keys and values. The queries are the last n of m
    positions; with `causal` each sees the keys up to its own. `scale` is 1 / sqrt(d) by default. The softmax is taken
    on the way (Milakov and Gimelshein, 2018; Dao et al., 2022), so memory does not grow with m, except with NumPy.
    """
    array("q", q, FLOAT32, 3)
    array("k", k, FLOAT32, 3)
    shaped("v", v, FLOAT32, k.shape)
    (heads, n, d), (kv_heads, m, width) = q.shape, k.shape
    if width != d:
        raise ValueError(f"k must have {d} columns, as many as q, not {width}")
    if heads % kv_heads:
        raise ValueError(f"q has {heads} heads, which is no multiple of the {kv_heads} of k")
    if causal and n > m:
        raise ValueError(f"q has {n} positions and k only {m}: with causal, the first ones would see no key")
    scale = 1 / math.sqrt(d) if scale is None else scale
    if not math.isfinite(scale):
        raise ValueError(f"scale must be a finite number, not {scale!r}")
    out = in_place("out", out, q, k, v, q)
    native = functions()
    if native is None:
        reference.flash_attention(q, k, v, causal, scale, out)
    else:
        sizes = (heads, kv_heads, n, m, d)
        native["attention"](address(q), address(k), address(v), address(out), *sizes, bool(causal), scale)
    return out
