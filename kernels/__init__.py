"""Kernels: the few functions that are worth writing for a processor, at the level that this one has.

Arrays in, arrays out; all are C-contiguous NumPy arrays, and `out` may be given to be written to. Every function exists
in NumPy and in C for several instruction sets; `select` chooses among these levels and `active` tells what is in use.
Wrong arguments raise `ValueError`, and ids outside of a table `IndexError`, before native code is called. What is in
here is imported when it is first used, since the level alone needs no NumPy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from kernels.levels import UnavailableLevelError, active, available, select

if TYPE_CHECKING:
    from kernels.attention import flash_attention
    from kernels.blocks import (
        Quantizer,
        dequantize_q4_0,
        dequantize_q8_0,
        dot_q4_0_q8_0,
        dot_q8_0,
        get_quantizer,
        matvec_q4_0,
        matvec_q8_0,
        quantize_q4_0,
        quantize_q8_0,
    )
    from kernels.features import TextState, text_features
    from kernels.gathering import bind, gather_accumulate
    from kernels.logits import apply_token_mask, logsumexp_topk
    from kernels.matrices import matmul, matmul_int8
    from kernels.rows import gelu, rmsnorm, rope, rope_tables, softmax, swiglu
    from kernels.similarity import similarity_topk

_PLACES = {
    "attention": ("flash_attention",),
    "blocks": (
        "Quantizer",
        "dequantize_q4_0",
        "dequantize_q8_0",
        "dot_q4_0_q8_0",
        "dot_q8_0",
        "get_quantizer",
        "matvec_q4_0",
        "matvec_q8_0",
        "quantize_q4_0",
        "quantize_q8_0",
    ),
    "features": ("TextState", "text_features"),
    "gathering": ("bind", "gather_accumulate"),
    "logits": ("apply_token_mask", "logsumexp_topk"),
    "matrices": ("matmul", "matmul_int8"),
    "rows": ("gelu", "rmsnorm", "rope", "rope_tables", "softmax", "swiglu"),
    "similarity": ("similarity_topk",),
}
_MODULES = {name: module for module, names in _PLACES.items() for name in names}

__all__ = [
    "Quantizer",
    "TextState",
    "UnavailableLevelError",
    "active",
    "apply_token_mask",
    "available",
    "bind",
    "dequantize_q4_0",
    "dequantize_q8_0",
    "dot_q4_0_q8_0",
    "dot_q8_0",
    "flash_attention",
    "gather_accumulate",
    "gelu",
    "get_quantizer",
    "logsumexp_topk",
    "matmul",
    "matmul_int8",
    "matvec_q4_0",
    "matvec_q8_0",
    "quantize_q4_0",
    "quantize_q8_0",
    "rmsnorm",
    "rope",
    "rope_tables",
    "select",
    "similarity_topk",
    "softmax",
    "swiglu",
    "text_features",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'kernels' has no attribute '{name}'")
    found = getattr(import_module(f"kernels.{_MODULES[name]}"), name)
    globals()[name] = found
    return found
