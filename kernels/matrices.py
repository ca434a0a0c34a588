"""Products of matrices."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.arguments import FLOAT32, INT8, LONGEST_INT8, Array, Bytes, Floats, address, array, output, shaped
from kernels.levels import functions
from kernels.reference import matrices as reference


def matmul(a: Floats, b: Floats, out: Floats | None = None) -> Floats:
    """`a[M, K]` times `b[K, N]`, float32, any sizes."""
    m, n, k = _sizes(a, b, FLOAT32)
    out = output("out", out, FLOAT32, (m, n), a, b)
    native = functions()
    if native is None:
        reference.matmul(a, b, out)
    else:
        native["matmul_f32"](address(a), address(b), address(out), m, n, k)
    return out


def matmul_int8(
    a: Bytes, b: Bytes, a_scale: Floats | None = None, b_scale: Floats | None = None, out: Array | None = None
) -> NDArray[Any]:
    """`a[M, K]` times `b[K, N]`, int8: exact sums in int32, K up to 131,071.

    With scales, of the rows of a (`a_scale[M]`), the columns of b (`b_scale[N]`) or both, the result is float32.
    """
    m, n, k = _sizes(a, b, INT8)
    if k > LONGEST_INT8:
        raise ValueError(f"a has {k} columns: sums in int32 hold {LONGEST_INT8} products")
    if a_scale is None and b_scale is None:
        out = output("out", out, np.int32, (m, n), a, b)
        _sums(a, b, out)
        return out
    rows = 1 if a_scale is None else shaped("a_scale", a_scale, FLOAT32, (m,))[:, None]
    columns = 1 if b_scale is None else shaped("b_scale", b_scale, FLOAT32, (n,))
    out = output("out", out, FLOAT32, (m, n), a, b)
    sums = np.empty((m, n), np.int32)
    _sums(a, b, sums)
    np.multiply(sums, rows, out=out, casting="unsafe")
    return np.multiply(out, columns, out=out)


def _sums(a: Bytes, b: Bytes, out: NDArray[np.int32]) -> None:
    native = functions()
    if native is None:
        reference.matmul_int8(a, b, out)
    else:
        native["matmul_i8"](address(a), address(b), address(out), *out.shape, a.shape[1])


def _sizes(a: Array, b: Array, dtype: np.dtype[Any]) -> tuple[int, int, int]:
    array("a", a, dtype, 2)
    array("b", b, dtype, 2)
    (m, k), (rows, n) = a.shape, b.shape
    if rows != k:
        raise ValueError(f"b must have {k} rows, as many as a has columns, not {rows}")
    return m, n, k
