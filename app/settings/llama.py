"""What can be set of llama.cpp: threads, batches, the KV cache, devices, how the file is read, and positions (RoPE)."""

from __future__ import annotations

import math
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, model_validator

from app.settings.sections import AnyCase, Section, variable
from backends.types import KVCacheType, Quantization, RopeScaling, Speculation, SplitMode, Switch

_MOST_CELLS = 268_435_456
_PLAIN_TYPES = ("f32", "f16", "bf16")


def _proportions(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        shares = tuple(float(item) for item in value.split(","))
    except ValueError:
        shares = ()
    if not (sum(shares) > 0 and all(0 <= share < math.inf for share in shares)):
        raise ValueError(
            "write a number of at least 0 for each GPU with commas between them, as in 3,1; one must be above 0"
        )
    return shares


Proportions = Annotated[tuple[float, ...], BeforeValidator(_proportions)]


class LlamaSettings(Section):
    """How llama.cpp uses the machine."""

    n_threads: int | None = variable(
        "JARVIS_N_THREADS",
        None,
        "Threads that compute.",
        unset="the physical cores, fewer for very small models",
        ge=1,
        le=1024,
    )
    n_threads_batch: int | None = variable(
        "JARVIS_N_THREADS_BATCH",
        None,
        "Threads that evaluate more than one token at a time, as prompts and several requests do.",
        unset="as many as JARVIS_N_THREADS",
        ge=1,
        le=1024,
    )
    n_batch: int = variable(
        "JARVIS_N_BATCH", 512, "Most tokens in one decode step, JARVIS_N_PARALLEL at least.", ge=1, le=65_536
    )
    n_parallel: int = variable("JARVIS_N_PARALLEL", 8, "Sequences that generate at once.", ge=1, le=256)
    kv_cells: int | None = variable(
        "JARVIS_KV_CELLS",
        None,
        "Tokens that all sequences together keep in the KV cache.",
        unset="as many context windows as are sensible and fit the memory",
        ge=64,
        le=_MOST_CELLS,
    )
    prefix_cache_tokens: int | None = variable(
        "JARVIS_PREFIX_CACHE_TOKENS",
        None,
        "Tokens of past prompts and answers that are remembered, in the KV cache and beside it; 0 keeps none.",
        unset="what fits 2 GiB and an eighth of the free memory",
        ge=0,
        le=_MOST_CELLS,
    )
    flash_attn: Annotated[Switch, AnyCase] = variable("JARVIS_FLASH_ATTN", "auto", "Flash attention.")
    kv_cache_type: Annotated[KVCacheType, AnyCase] = variable(
        "JARVIS_KV_CACHE_TYPE", "f16", "Number format of the KV cache; smaller ones save memory and cost accuracy."
    )
    kv_cache_type_k: Annotated[KVCacheType | None, AnyCase] = variable(
        "JARVIS_KV_CACHE_TYPE_K", None, "Number format of the cached keys.", unset="JARVIS_KV_CACHE_TYPE"
    )
    kv_cache_type_v: Annotated[KVCacheType | None, AnyCase] = variable(
        "JARVIS_KV_CACHE_TYPE_V",
        None,
        "Number format of the cached values; one below 16 bits needs flash attention.",
        unset="JARVIS_KV_CACHE_TYPE",
    )
    speculative: Annotated[Speculation, AnyCase] = variable(
        "JARVIS_SPECULATIVE",
        "off",
        "Guess tokens ahead from the text so far (ngram) and verify them together; greedy answers stay the same.",
    )
    quantization: Annotated[Quantization | None, AnyCase] = variable(
        "JARVIS_QUANTIZATION",
        None,
        "Number format that the weights of an F32, F16 or BF16 file are turned into when it is first loaded;"
        " the copy is kept in JARVIS_CACHE_DIR.",
        unset="weights are used as they are",
    )
    mmap: bool = variable("JARVIS_MMAP", True, "Map the model file into memory instead of reading it.")
    mlock: bool = variable(
        "JARVIS_MLOCK", False, "Keep the model in memory, never swapped out; the system's memlock limit must allow it."
    )
    n_gpu_layers: int = variable(
        "JARVIS_N_GPU_LAYERS", -1, "Layers computed on a GPU, where the build has one; -1: all.", ge=-1, le=10_000
    )
    split_mode: Annotated[SplitMode, AnyCase] = variable(
        "JARVIS_SPLIT_MODE", "layer", "How several GPUs share the model: whole layers, rows of matrices, or not at all."
    )
    main_gpu: int = variable(
        "JARVIS_MAIN_GPU", 0, "The GPU that is used with JARVIS_SPLIT_MODE=none, counted from 0.", ge=0, le=255
    )
    tensor_split: Proportions = variable(
        "JARVIS_TENSOR_SPLIT",
        (),
        "Share of the model that each GPU takes, as proportions with commas between them (3,1).",
        unset="by free memory",
    )
    rope_scaling: Annotated[RopeScaling | None, AnyCase] = variable(
        "JARVIS_ROPE_SCALING", None, "How positions are scaled beyond the trained context.", unset="as the model says"
    )
    rope_freq_base: float | None = variable(
        "JARVIS_ROPE_FREQ_BASE", None, "Base of the RoPE frequencies.", unset="as the model says", ge=1, le=1e12
    )
    rope_freq_scale: float | None = variable(
        "JARVIS_ROPE_FREQ_SCALE",
        None,
        "Factor of the RoPE frequencies; 0.5 makes a context twice as long.",
        unset="as the model says",
        ge=0.001,
        le=1,
    )
    yarn_orig_ctx: int | None = variable(
        "JARVIS_YARN_ORIG_CTX",
        None,
        "Tokens of context that the model was trained on before YaRN.",
        unset="as the model says",
        ge=64,
        le=16_777_216,
    )

    @model_validator(mode="after")
    def _cache_is_consistent(self) -> Self:
        own = "JARVIS_KV_CACHE_TYPE_V" if self.kv_cache_type_v else "JARVIS_KV_CACHE_TYPE"
        values = self.kv_cache_type_v or self.kv_cache_type
        if self.flash_attn == "off" and values not in _PLAIN_TYPES:
            raise ValueError(
                f"{own}='{values}' quantises the cached values, which needs flash attention:"
                " set JARVIS_FLASH_ATTN=auto, or JARVIS_KV_CACHE_TYPE_V=f16"
            )
        return self

    @model_validator(mode="after")
    def _rope_is_consistent(self) -> Self:
        if self.rope_freq_scale is not None and self.rope_scaling in (None, "none"):
            raise ValueError(
                f"JARVIS_ROPE_FREQ_SCALE='{self.rope_freq_scale:g}' needs JARVIS_ROPE_SCALING=linear or yarn"
            )
        if self.yarn_orig_ctx is not None and self.rope_scaling != "yarn":
            raise ValueError(f"JARVIS_YARN_ORIG_CTX='{self.yarn_orig_ctx}' is only read with JARVIS_ROPE_SCALING=yarn")
        return self

    @model_validator(mode="after")
    def _devices_are_consistent(self) -> Self:
        if self.tensor_split and self.split_mode == "none":
            raise ValueError("JARVIS_TENSOR_SPLIT is not read with JARVIS_SPLIT_MODE='none': set layer or row")
        if self.main_gpu and self.split_mode != "none":
            raise ValueError(
                f"JARVIS_MAIN_GPU='{self.main_gpu}' is only read with JARVIS_SPLIT_MODE=none, which uses one GPU"
            )
        return self
