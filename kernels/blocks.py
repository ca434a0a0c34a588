"""Weights in blocks of 32 as GGUF files have them, and products with them.

A q8_0 block is a scale in half precision and 32 int8, 34 bytes; a q4_0 block a scale and 32 nibbles, 18 bytes. Rows are
`uint8[rows, bytes]`, byte-equal to what the `gguf` package writes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from kernels.arguments import FLOAT32, UINT8, Array, Floats, address, array, count, output, shaped
from kernels.levels import functions
from kernels.reference import blocks as reference
from kernels.reference.blocks import BLOCK, Blocks

Q8_0_BYTES = 2 + BLOCK
Q4_0_BYTES = 2 + BLOCK // 2


def quantize_q8_0(x: Floats, out: Blocks | None = None) -> Blocks:
    """`x[rows, n]` to `uint8[rows, n / 32 * 34]`; n is a multiple of 32, and all of x is finite."""
    return _quantized("quantize_q8_0", x, out, Q8_0_BYTES)


def quantize_q4_0(x: Floats, out: Blocks | None = None) -> Blocks:
    """`x[rows, n]` to `uint8[rows, n / 32 * 18]`; n is a multiple of 32, and all of x is finite."""
    return _quantized("quantize_q4_0", x, out, Q4_0_BYTES)


def dequantize_q8_0(blocks: Blocks, n: int, out: Floats | None = None) -> Floats:
    """`blocks[rows, n / 32 * 34]` to `float32[rows, n]`."""
    return _dequantized("dequantize_q8_0", blocks, n, out, Q8_0_BYTES)


def dequantize_q4_0(blocks: Blocks, n: int, out: Floats | None = None) -> Floats:
    """`blocks[rows, n / 32 * 18]` to `float32[rows, n]`."""
    return _dequantized("dequantize_q4_0", blocks, n, out, Q4_0_BYTES)


def matvec_q8_0(blocks: Blocks, x: Floats, out: Floats | None = None) -> Floats:
    """`blocks[rows, n / 32 * 34]` times `x[n]`, to `float32[rows]`.

    x is quantised to q8_0 first and multiplied in integers, as llama.cpp does; what that costs in accuracy is at most
    1 / 254 of the largest magnitude in each block of x.
    """
    return _matvec("matvec_q8_0", blocks, x, out, Q8_0_BYTES)


def matvec_q4_0(blocks: Blocks, x: Floats, out: Floats | None = None) -> Floats:
    """`blocks[rows, n / 32 * 18]` times `x[n]`, to `float32[rows]`; x is quantised as in `matvec_q8_0`."""
    return _matvec("matvec_q4_0", blocks, x, out, Q4_0_BYTES)


def dot_q8_0(a: Blocks, b: Blocks) -> float:
    """The product of two vectors of q8_0 blocks, each `uint8[n / 32 * 34]`."""
    return _dot("matvec_q8_0", a, b, Q8_0_BYTES)


def dot_q4_0_q8_0(a: Blocks, b: Blocks) -> float:
    """The product of a vector of q4_0 blocks, `uint8[n / 32 * 18]`, and one of q8_0 blocks."""
    return _dot("matvec_q4_0", a, b, Q4_0_BYTES)


class Quantizer:
    """Weight matrices to blocks and back."""

    def quantize_q8(self, weights: Floats) -> Blocks:
        """`weights[rows, n]` as q8_0 blocks, byte-equal to those of GGUF files."""
        return quantize_q8_0(weights)

    def quantize_q4(self, weights: Floats) -> Blocks:
        """`weights[rows, n]` as q4_0 blocks, byte-equal to those of GGUF files."""
        return quantize_q4_0(weights)

    def dequantize_q8(self, blocks: Blocks, n: int) -> Floats:
        """The weights of q8_0 blocks, n in a row."""
        return dequantize_q8_0(blocks, n)

    def dequantize_q4(self, blocks: Blocks, n: int) -> Floats:
        """The weights of q4_0 blocks, n in a row."""
        return dequantize_q4_0(blocks, n)


def get_quantizer() -> Quantizer:
    """What turns weight matrices into blocks."""
    return Quantizer()


_REFERENCE: dict[str, Callable[..., None]] = {
    "quantize_q8_0": reference.quantize_q8_0,
    "quantize_q4_0": reference.quantize_q4_0,
    "dequantize_q8_0": reference.dequantize_q8_0,
    "dequantize_q4_0": reference.dequantize_q4_0,
    "matvec_q8_0": reference.matvec_q8_0,
    "matvec_q4_0": reference.matvec_q4_0,
}


def _quantized(name: str, x: Floats, out: Blocks | None, block_bytes: int) -> Blocks:
    array("x", x, FLOAT32, 2)
    rows, n = x.shape
    if n % BLOCK:
        raise ValueError(f"x must have a multiple of {BLOCK} columns, not {n}")
    out = output("out", out, UINT8, (rows, n // BLOCK * block_bytes), x)
    native = functions()
    if native is None:
        finite = bool(np.isfinite(x).all())
        if finite:
            _REFERENCE[name](x, out)
    else:
        finite = native[name](address(x), address(out), x.size // BLOCK) == 0
    if not finite:
        raise ValueError("x has a value that is NaN or infinite, which blocks cannot hold")
    return out


def _dequantized(name: str, blocks: Blocks, n: int, out: Floats | None, block_bytes: int) -> Floats:
    array("blocks", blocks, UINT8, 2)
    if count("n", n) % BLOCK or blocks.shape[1] != n // BLOCK * block_bytes:
        raise ValueError(f"blocks has {blocks.shape[1]} bytes in a row, which are not n={n} weights")
    out = output("out", out, FLOAT32, (len(blocks), n), blocks)
    native = functions()
    if native is None:
        _REFERENCE[name](blocks, out)
    else:
        native[name](address(blocks), address(out), out.size // BLOCK)
    return out


def _matvec(name: str, blocks: Blocks, x: Floats, out: Floats | None, block_bytes: int) -> Floats:
    array("blocks", blocks, UINT8, 2)
    array("x", x, FLOAT32, 1)
    if x.size % BLOCK or blocks.shape[1] != x.size // BLOCK * block_bytes:
        raise ValueError(
            f"x has {x.size} numbers, which are not the weights in a row of blocks ({blocks.shape[1]} bytes)"
        )
    out = output("out", out, FLOAT32, (len(blocks),), blocks, x)
    _multiply(name, blocks, quantize_q8_0(x[None, :])[0], out)
    return out


def _dot(name: str, a: Array, b: Blocks, block_bytes: int) -> float:
    array("a", a, UINT8, 1)
    if a.size % block_bytes:
        raise ValueError(f"a has {a.size} bytes, which are no multiple of the {block_bytes} of a block")
    shaped("b", b, UINT8, (a.size // block_bytes * Q8_0_BYTES,))
    out = np.empty(1, np.float32)
    _multiply(name, a[None, :], b, out)
    return float(out[0])


def _multiply(name: str, blocks: Blocks, x: Blocks, out: NDArray[np.float32]) -> None:
    native = functions()
    if native is None:
        _REFERENCE[name](blocks, x, out)
    else:
        native[name](address(blocks), address(x), address(out), len(out), x.size // Q8_0_BYTES)
