"""Brings vLLM up, which takes up to a minute and may fail in many ways, and says in one sentence what went wrong."""

from __future__ import annotations

import time
from typing import Any

from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.metrics.loggers import StatLoggerBase

from backends.base import ModelUnavailableError
from backends.types import EngineConfig
from backends.vllm.overheard import Overheard, start_failure

_LAST_WORDS_S = 0.2
"""For what other processes said last to be heard."""


class Usage(StatLoggerBase):  # type: ignore[misc]
    """The share of vLLM's KV cache that is in use, from what its scheduler reports after every step."""

    def __init__(self, vllm_config: Any, engine_index: int = 0) -> None:
        del vllm_config, engine_index
        self.cache_share = 0.0

    def record(
        self,
        scheduler_stats: Any,
        iteration_stats: Any,
        mm_cache_stats: Any = None,
        engine_idx: int = 0,
    ) -> None:
        """Note the numbers of a step."""
        del iteration_stats, mm_cache_stats, engine_idx
        if scheduler_stats is not None:
            self.cache_share = float(scheduler_stats.kv_cache_usage)

    def log_engine_initialized(self) -> None:
        """Nothing to say."""


class Started:
    """A running vLLM with its usage."""

    def __init__(self, arguments: dict[str, Any], overheard: Overheard) -> None:
        """Start it; blocks for as long as that takes.

        Raises:
            ModelUnavailableError: it does not start with this model, this configuration or this memory.
        """
        self.usage = Usage(None)
        try:
            engine_args = AsyncEngineArgs(**arguments)
            self.llm: Any = AsyncLLM.from_engine_args(engine_args, stat_loggers=[lambda *_: self.usage])
        except (ValueError, TypeError, KeyError, OSError, ImportError, NotImplementedError, RuntimeError) as error:
            time.sleep(_LAST_WORDS_S)
            raise start_failure(error, overheard.reason()) from error
        if self.llm.model_config.is_encoder_decoder or self.llm.model_config.runner_type != "generate":
            self.llm.shutdown(timeout=1.0)
            raise ModelUnavailableError("this model does not generate text")

    def settings(self, config: EngineConfig) -> dict[str, Any]:
        """What vLLM really works with, by the names that `/stats` has for it."""
        own, options = self.llm.vllm_config, config.vllm
        return {
            "dtype": str(own.model_config.dtype).removeprefix("torch."),
            "quantization": own.model_config.quantization,
            "max_num_seqs": own.scheduler_config.max_num_seqs,
            "max_num_batched_tokens": own.scheduler_config.max_num_batched_tokens,
            "block_size": own.cache_config.block_size,
            "enable_prefix_caching": bool(own.cache_config.enable_prefix_caching),
            "enable_chunked_prefill": bool(own.scheduler_config.enable_chunked_prefill),
            "enforce_eager": bool(own.model_config.enforce_eager),
            "tensor_parallel_size": options.tensor_parallel_size,
            "pipeline_parallel_size": options.pipeline_parallel_size,
            "adapters": list(config.adapters),
        }
