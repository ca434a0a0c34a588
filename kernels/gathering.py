"""Sums of rows of a table: what features add up to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from kernels.arguments import FLOAT32, INT8, INT32, INT64, Array, Ids, address, array, output, shaped
from kernels.levels import functions
from kernels.reference import lookups as reference

MOST_ROWS = 2**24 - 1
"""Rows of int8 whose sum int32 holds, whatever they are."""


def gather_accumulate(table: Array, ids: Array, weights: Array | None = None, out: Array | None = None) -> Array:
    """The sum of `table[ids]` over its rows: `table[rows, width]`, int8 or float32; `ids[n]`, integers.

    The sums of an int8 table are exact int32, for up to 16,777,215 ids; those of a float32 table are float32.
    `weights[n]` multiply the rows: float32, which makes the sums float32, or with an int8 table int32, which keeps them
    exact.

    Raises:
        IndexError: an id is negative or not below the number of rows.
    """
    dtype = _checked_table(table)
    found = _checked_ids(ids)
    if weights is not None:
        dtype = _checked_weights(weights, found, table)
    if dtype == INT32 and found.size > MOST_ROWS:
        raise ValueError(f"ids has {found.size} entries: sums in int32 hold {MOST_ROWS} rows")
    given = [array for array in (table, found, weights) if array is not None]
    out = output("out", out, dtype, (table.shape[1],), *given)
    native = functions()
    if native is None:
        within = reference.gather_accumulate(table, found, weights, out)
    else:
        within = _native(native[_name(table, weights)], table, found, weights, out)
    if not within:
        raise _out_of_range(found, len(table))
    return out


def bind(table: Array, out: Array) -> Callable[[Ids], Array]:
    """`gather_accumulate` without weights, for callers that come often: table and `out` are checked now and not again.

    The function that is returned takes `ids[n]`, int64 and C-contiguous, writes the sums to `out` and returns it; no
    ids make zeros. It raises as `gather_accumulate` does. It belongs to the level that was selected when it was made,
    and `out` makes it a thing of one thread.
    """
    dtype = _checked_table(table)
    output("out", shaped("out", out, dtype, (table.shape[1],)), dtype, (table.shape[1],), table)
    native, rows, width = functions(), *table.shape
    if native is None:
        return lambda ids: _bound_reference(table, ids, out)
    function, where, to = native[_name(table, None)], address(table), address(out)
    between = (None,) if table.dtype == FLOAT32 else ()

    def bound(ids: Ids) -> Array:
        _check_bound(ids)
        if function(where, address(ids) if ids.size else None, *between, to, rows, width, ids.size):
            raise _out_of_range(ids, rows)
        return out

    return bound


def _bound_reference(table: Array, ids: Ids, out: Array) -> Array:
    _check_bound(ids)
    if not reference.gather_accumulate(table, ids, None, out):
        raise _out_of_range(ids, len(table))
    return out


def _check_bound(ids: Any) -> None:
    if type(ids) is not np.ndarray or ids.dtype != INT64 or ids.ndim != 1 or not ids.flags.c_contiguous:
        raise ValueError("ids must be a C-contiguous NumPy array of int64 with one dimension")
    if ids.size > MOST_ROWS:
        raise ValueError(f"ids has {ids.size} entries: at most {MOST_ROWS} are summed")


def _checked_table(table: Any) -> np.dtype[Any]:
    """The dtype of the sums."""
    dtype = FLOAT32 if isinstance(table, np.ndarray) and table.dtype == FLOAT32 else INT8
    array("table", table, dtype, 2)
    return FLOAT32 if dtype == FLOAT32 else INT32


def _checked_ids(ids: Any) -> Ids:
    if isinstance(ids, np.ndarray) and ids.dtype != INT64 and ids.dtype.kind in "iu" and ids.dtype != np.uint64:
        ids = ids.astype(np.int64)
    return array("ids", ids, INT64, 1)


def _checked_weights(weights: Any, ids: Ids, table: Array) -> np.dtype[Any]:
    """The dtype of the sums."""
    whole = isinstance(weights, np.ndarray) and weights.dtype == INT32 and table.dtype == INT8
    found = shaped("weights", weights, INT32 if whole else FLOAT32, ids.shape)
    if whole and int(np.abs(found.astype(np.int64)).sum()) * 128 >= 2**31:
        raise ValueError("weights are so large that sums in int32 might overflow")
    return INT32 if whole else FLOAT32


def _name(table: Array, weights: Array | None) -> str:
    if table.dtype == FLOAT32:
        return "gather_f32"
    if weights is None:
        return "gather_i8"
    return "gather_i8_i32" if weights.dtype == INT32 else "gather_i8_f32"


def _native(function: Callable[..., int], table: Array, ids: Ids, weights: Array | None, out: Array) -> bool:
    between: tuple[int | None, ...] = () if weights is None else (address(weights),)
    if weights is None and table.dtype == FLOAT32:
        between = (None,)
    return function(address(table), address(ids), *between, address(out), *table.shape, ids.size) == 0


def _out_of_range(ids: Ids, rows: int) -> IndexError:
    wrong = int(ids[(ids < 0) | (ids >= rows)][0])
    return IndexError(f"ids has {wrong}, and the table has rows 0 to {rows - 1}")
