"""What became of the settings: the values that llama.cpp really works with, and what RoPE options make of a context."""

from __future__ import annotations

from typing import Any

import llama_cpp

from backends.llama_cpp.context import Context
from backends.llama_cpp.model import Model
from backends.process_memory import locked_bytes
from backends.types import LlamaOptions

_FREQ_BASE = 10_000.0
"""llama.cpp's, for models that do not say."""


def effective_settings(model: Model, context: Context, options: LlamaOptions) -> dict[str, Any]:
    """Every setting of llama.cpp as it is now, defaults filled in; JSON-like values.

    `mlock` is true if pages are really locked, which the system's limits may have prevented. `n_gpu_layers` counts the
    output as one layer, as llama.cpp does; without a GPU it is 0 and nothing is split.
    """
    type_k, type_v = options.cache_types
    return {
        "n_threads": llama_cpp.llama_n_threads(context.handle),
        "n_threads_batch": llama_cpp.llama_n_threads_batch(context.handle),
        "n_batch": llama_cpp.llama_n_batch(context.handle),
        "n_parallel": options.n_parallel,
        "kv_cells": context.cells,
        "kv_cache_type_k": type_k,
        "kv_cache_type_v": type_v,
        "flash_attn": context.flash_attn,
        "mmap": options.mmap and llama_cpp.llama_supports_mmap(),
        "mlock": options.mlock and locked_bytes() > 0,
        **_devices(model, options),
        **_rope(model, options),
    }


def trained_reach(model: Model, options: LlamaOptions) -> int:
    """Tokens of context that the model was trained on, stretched by the factor that the options give."""
    if options.rope_freq_scale is None:
        return model.trained_context
    original = model.metadata.get(f"{model.architecture}.rope.scaling.original_context_length")
    return int((options.yarn_orig_ctx or int(original or model.trained_context)) / options.rope_freq_scale)


def _devices(model: Model, options: LlamaOptions) -> dict[str, Any]:
    layers = llama_cpp.llama_model_n_layer(model.handle) + 1
    if not llama_cpp.llama_supports_gpu_offload():
        return {"n_gpu_layers": 0, "split_mode": "none", "main_gpu": None, "tensor_split": None}
    one = options.split_mode == "none"
    return {
        "n_gpu_layers": layers if options.n_gpu_layers < 0 else min(options.n_gpu_layers, layers),
        "split_mode": options.split_mode,
        "main_gpu": options.main_gpu if one else None,
        "tensor_split": list(options.tensor_split) or None,
    }


def _rope(model: Model, options: LlamaOptions) -> dict[str, Any]:
    def trained(key: str) -> str | None:
        return model.metadata.get(f"{model.architecture}.rope.{key}")

    # Where nobody says, llama.cpp scales linearly by 1.
    scaling = options.rope_scaling or trained("scaling.type") or "none"
    scale = options.rope_freq_scale or llama_cpp.llama_model_rope_freq_scale_train(model.handle)
    original = options.yarn_orig_ctx or int(trained("scaling.original_context_length") or model.trained_context)
    return {
        "rope_scaling": scaling,
        "rope_freq_base": options.rope_freq_base or float(trained("freq_base") or _FREQ_BASE),
        "rope_freq_scale": 1.0 if options.rope_scaling == "none" else scale,
        "yarn_orig_ctx": original if scaling == "yarn" else None,
    }
