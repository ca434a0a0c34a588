"""What every kernel asks of its arguments, before any native code sees an address.

All checks raise `ValueError` with the argument's name; ids outside of a table raise `IndexError`.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Array = NDArray[Any]
Floats = NDArray[np.float32]
Bytes = NDArray[np.int8]
Ids = NDArray[np.int64]

FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)
INT8, UINT8 = np.dtype(np.int8), np.dtype(np.uint8)
INT32, UINT32, INT64 = np.dtype(np.int32), np.dtype(np.uint32), np.dtype(np.int64)

_FIRST: Any = ctypes.c_char
_C_CONTIGUOUS_AND_ALIGNED = 0x101  # bits of `flags.num`, which is one look-up for both

LONGEST_INT8 = 2**31 // 128**2 - 1
"""Products of int8 that a sum in int32 holds, whatever they are."""


def array(name: str, value: Any, dtype: np.dtype[Any], ndim: int | None = None) -> Array:
    """The value, if it is a C-contiguous array of `dtype` that is not empty and has `ndim` dimensions.

    Without `ndim`, it has one at least.
    """
    if not isinstance(value, np.ndarray) or value.dtype != dtype:
        kind = value.dtype if isinstance(value, np.ndarray) else type(value).__name__
        raise ValueError(f"{name} must be a NumPy array of {dtype}, not {kind}")
    if value.ndim != ndim if ndim is not None else value.ndim == 0:
        wanted = "at least 1" if ndim is None else ndim
        raise ValueError(f"{name} must have {wanted} dimensions, not {value.ndim}")
    if value.size == 0:
        raise ValueError(f"{name} is empty: its shape is {value.shape}")
    if value.flags.num & _C_CONTIGUOUS_AND_ALIGNED != _C_CONTIGUOUS_AND_ALIGNED:
        raise ValueError(f"{name} must be C-contiguous and aligned; np.ascontiguousarray makes it so")
    return value


def shaped(name: str, value: Any, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
    """As `array`, with exactly this shape."""
    found = array(name, value, dtype, len(shape))
    if found.shape != shape:
        raise ValueError(f"{name} must have the shape {shape}, not {found.shape}")
    return found


def output(name: str, value: Any, dtype: DTypeLike, shape: tuple[int, ...], *apart_from: Array) -> Array:
    """Where a result goes: `value`, if it fits and can be written, or a new array if it is `None`.

    It must share no memory with the arrays of `apart_from`.
    """
    if value is None:
        return np.empty(shape, dtype)
    found = shaped(name, value, np.dtype(dtype), shape)
    if not found.flags.writeable:
        raise ValueError(f"{name} is read-only")
    begin = address(found)
    for other in apart_from:
        if begin < address(other) + other.nbytes and address(other) < begin + found.nbytes:
            raise ValueError(f"{name} shares memory with an input")
    return found


def in_place(name: str, value: Any, x: Array, *apart_from: Array) -> Array:
    """As `output`, of the shape and dtype of `x`, and it may be `x` itself."""
    if value is None or (isinstance(value, np.ndarray) and value.size and address(value) == address(x)):
        return output(name, value, x.dtype, x.shape, *apart_from)
    return output(name, value, x.dtype, x.shape, x, *apart_from)


def count(name: str, value: Any) -> int:
    """A whole number that is not below 1."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, not {value!r}")
    return int(value)


def address(value: Array) -> int:
    """Where the numbers of an array that is contiguous and not empty begin.

    By way of the buffer protocol, which takes a fraction of the time that `value.ctypes.data` does, where that works.
    """
    try:
        return ctypes.addressof(_FIRST.from_buffer(value))
    except (TypeError, ValueError):  # it is read-only, or not what it should be
        found: int = value.__array_interface__["data"][0]
        return found
