"""What vLLM is started with: the configuration in its own words, and the memory that it will take."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

from backends.base import ModelUnavailableError
from backends.byte_sizes import readable
from backends.machine import windows_that_fit
from backends.types import LONGEST_DEFAULT_WINDOW, EngineConfig
from backends.vllm.devices import Devices
from backends.vllm.folder import adapter_rank
from backends.vllm.gguf_folder import NUMBER_BYTES
from backends.vllm.source import Source

MOST_LOGPROBS = 20
_WINDOWS = 8
_GIB = 2**30
_RUNTIME_BYTES = 800_000_000  # of vLLM's processes without a model
_WAITING = "backends.vllm.waiting"
_LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
_ASSUMED_BYTES = 2  # of a number whose format only vLLM will know


@dataclass(frozen=True)
class Plan:
    """Sizes that follow from configuration, model and machine; `None` is left to vLLM."""

    window: int | None
    cache_bytes: int | None


def plan_memory(config: EngineConfig, source: Source, devices: Devices, available: int | None) -> Plan:
    """The context window, and the KV cache where there is no GPU.

    Raises:
        ModelUnavailableError: weights and one context window do not fit the memory that is available.
    """
    folder, options = source.folder, config.vllm
    trained = folder.trained_context
    window = config.context_window or (min(trained, LONGEST_DEFAULT_WINDOW) if trained else None)
    if devices.gpus:
        return Plan(window, None)
    number = NUMBER_BYTES.get(source.dtype, _ASSUMED_BYTES)
    weights = folder.parameters * number or folder.size_bytes
    token_bytes = folder.cache_bytes(number)
    if options.cpu_kvcache_space is not None:
        cache: int | None = int(options.cpu_kvcache_space * _GIB)
    elif token_bytes is None or window is None:
        cache = None
    else:
        free = None if available is None else max(available - weights - _RUNTIME_BYTES, 0)
        cache = token_bytes * window * windows_that_fit(_WINDOWS, token_bytes * window, free)
    _check_memory(weights, cache or 0, available)
    return Plan(window, cache)


def _check_memory(weights: int, cache: int, available: int | None) -> None:
    needed = weights + cache + _RUNTIME_BYTES
    if available is not None and needed > available:
        raise ModelUnavailableError(
            f"weights of {readable(weights)} and a KV cache of {readable(cache)} take {readable(needed)} with vLLM"
            f" itself, and only {readable(available)} of memory are free: set JARVIS_VLLM_DTYPE=bfloat16, a smaller"
            " JARVIS_MODEL_CONTEXT_WINDOW or JARVIS_VLLM_CPU_KVCACHE_SPACE, or serve a smaller model"
        )


def engine_arguments(config: EngineConfig, source: Source, plan: Plan, devices: Devices) -> dict[str, Any]:
    """The arguments of `vllm.engine.arg_utils.AsyncEngineArgs`; adapters must be folders."""
    options = config.vllm
    eager = not devices.gpus if options.enforce_eager is None else options.enforce_eager
    given = {
        "max_model_len": plan.window,
        "kv_cache_memory_bytes": plan.cache_bytes,
        "quantization": options.quantization,
        "max_num_seqs": options.max_num_seqs,
        "max_num_batched_tokens": options.max_num_batched_tokens,
        **_processes(options.distributed_executor_backend, devices),
    }
    return {
        "model": str(source.folder.path),
        "served_model_name": config.alias,
        "dtype": source.dtype,
        "enforce_eager": eager,
        "tensor_parallel_size": options.tensor_parallel_size,
        "pipeline_parallel_size": options.pipeline_parallel_size,
        "gpu_memory_utilization": options.gpu_memory_utilization,
        "enable_prefix_caching": options.enable_prefix_caching,
        "enable_chunked_prefill": options.enable_chunked_prefill,
        "trust_remote_code": options.trust_remote_code,
        "scheduling_policy": "priority",
        "max_logprobs": MOST_LOGPROBS,
        "structured_outputs_config": {"backend": "guidance"},
        "seed": secrets.randbelow(2**31),  # else requests without a seed would say the same after every start
        "disable_log_stats": True,
        **{name: value for name, value in given.items() if value is not None},
        **_lora(config),
    }


def _processes(executor: str | None, devices: Devices) -> dict[str, str | None]:
    """What runs the workers. Without a GPU there is always a process of its own for each."""
    if devices.gpus or executor == "ray":
        return {"distributed_executor_backend": executor}
    return {"distributed_executor_backend": f"{_WAITING}.Executor", "worker_cls": f"{_WAITING}.Worker"}


def _lora(config: EngineConfig) -> dict[str, Any]:
    if not config.vllm.enable_lora:
        return {}
    ranks = [adapter_rank(path) for path in config.adapters.values()]
    room = next((rank for rank in _LORA_RANKS if rank >= max(ranks, default=0)), _LORA_RANKS[-1])
    return {"enable_lora": True, "max_loras": max(1, len(ranks)), "max_lora_rank": room}
