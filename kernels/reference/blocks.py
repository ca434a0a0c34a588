"""Weights in blocks of 32, in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.arguments import Floats

BLOCK = 32
Blocks = NDArray[np.uint8]


def _inverse(scale: Floats) -> Floats:
    """1 / scale, and 0 where that is not finite."""
    with np.errstate(divide="ignore", over="ignore"):
        inverse = np.float32(1) / scale
    return np.where(np.isfinite(inverse), inverse, np.float32(0))


def _half(scale: Floats) -> Blocks:
    with np.errstate(over="ignore"):
        return scale.astype(np.float16).view(np.uint8)


def quantize_q8_0(x: Floats, out: Blocks) -> None:
    """To a scale and 32 int8 for each block; halves are rounded away from zero."""
    blocks = x.reshape(-1, BLOCK)
    scale = np.abs(blocks).max(axis=1, keepdims=True) / np.float32(127)
    scaled = blocks * _inverse(scale)
    magnitude = np.abs(scaled)
    whole = np.floor(magnitude)
    whole += magnitude - whole >= 0.5
    quants = np.copysign(whole, scaled).astype(np.int8).view(np.uint8)
    out.reshape(-1, 2 + BLOCK)[:] = np.concatenate([_half(scale), quants], axis=1)


def quantize_q4_0(x: Floats, out: Blocks) -> None:
    """To a scale and 32 nibbles for each block; the value of largest magnitude becomes -8."""
    blocks = x.reshape(-1, BLOCK)
    most = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=1, keepdims=True), axis=1)
    scale = most / np.float32(-8)
    quants = np.minimum((blocks * _inverse(scale) + np.float32(8.5)).astype(np.uint8), 15)
    low, high = quants[:, : BLOCK // 2], quants[:, BLOCK // 2 :]
    out.reshape(-1, 2 + BLOCK // 2)[:] = np.concatenate([_half(scale), low | high << 4], axis=1)


def _scales(blocks: Blocks) -> Floats:
    found: Floats = blocks[:, :2].copy().view(np.float16).astype(np.float32)
    return found


def _quants_q8_0(blocks: Blocks) -> NDArray[Any]:
    return blocks[:, 2:].view(np.int8)


def _quants_q4_0(blocks: Blocks) -> NDArray[Any]:
    packed = blocks[:, 2:]
    return np.concatenate([packed & 15, packed >> 4], axis=1).astype(np.int8) - np.int8(8)


def dequantize_q8_0(blocks: Blocks, out: Floats) -> None:
    """Back to float32."""
    flat = blocks.reshape(-1, 2 + BLOCK)
    out.reshape(-1, BLOCK)[:] = _scales(flat) * _quants_q8_0(flat)


def dequantize_q4_0(blocks: Blocks, out: Floats) -> None:
    """Back to float32."""
    flat = blocks.reshape(-1, 2 + BLOCK // 2)
    out.reshape(-1, BLOCK)[:] = _scales(flat) * _quants_q4_0(flat)


def _matvec(scales: Floats, quants: NDArray[Any], x: Blocks, out: Floats) -> None:
    by = x.reshape(-1, 2 + BLOCK)
    shape = (out.size, len(by), BLOCK)
    dots = np.einsum("rbi,bi->rb", quants.reshape(shape), _quants_q8_0(by), dtype=np.int32)
    out[:] = (dots * (scales.reshape(shape[:2]) * _scales(by)[:, 0])).sum(axis=1)


def matvec_q8_0(blocks: Blocks, x: Blocks, out: Floats) -> None:
    """Rows of q8_0 blocks times a vector of them."""
    flat = blocks.reshape(-1, 2 + BLOCK)
    _matvec(_scales(flat), _quants_q8_0(flat), x, out)


def matvec_q4_0(blocks: Blocks, x: Blocks, out: Floats) -> None:
    """Rows of q4_0 blocks times a vector of q8_0 blocks."""
    flat = blocks.reshape(-1, 2 + BLOCK // 2)
    _matvec(_scales(flat), _quants_q4_0(flat), x, out)
