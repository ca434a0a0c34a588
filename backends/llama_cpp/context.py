"""The native context: KV cache and working memory of one model, and the batch that a decode call reads."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import llama_cpp
import numpy as np

from backends.base import EngineError, ModelUnavailableError
from backends.llama_cpp import native_log
from backends.llama_cpp.model import Model
from backends.types import KVCacheType, Switch

KV_CACHE_TYPES: Mapping[KVCacheType, int] = {
    "f32": llama_cpp.GGML_TYPE_F32,
    "f16": llama_cpp.GGML_TYPE_F16,
    "bf16": 30,  # GGML_TYPE_BF16, which the binding does not name
    "q8_0": llama_cpp.GGML_TYPE_Q8_0,
    "q5_1": llama_cpp.GGML_TYPE_Q5_1,
    "q5_0": llama_cpp.GGML_TYPE_Q5_0,
    "q4_1": llama_cpp.GGML_TYPE_Q4_1,
    "q4_0": llama_cpp.GGML_TYPE_Q4_0,
    "iq4_nl": llama_cpp.GGML_TYPE_IQ4_NL,
}
FLASH_ATTENTION: Mapping[Switch, int] = {
    "auto": llama_cpp.LLAMA_FLASH_ATTN_TYPE_AUTO,
    "on": llama_cpp.LLAMA_FLASH_ATTN_TYPE_ENABLED,
    "off": llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED,
}
_PADDING = 256  # llama.cpp rounds a context up to this many cells


@dataclass(frozen=True)
class ContextOptions:
    """Shape of a context: `cells` KV cells shared by `sequences` sequences, `n_batch` tokens a decode call at most."""

    cells: int
    sequences: int
    n_batch: int
    n_threads: int
    flash_attn: Switch = "auto"
    kv_cache_type: KVCacheType = "f16"


class Batch:
    """The rows that one decode call evaluates, in buffers that are filled in place."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._token = np.zeros(capacity, np.int32)
        self._pos = np.zeros(capacity, np.int32)
        self._sequence = np.zeros(capacity, np.int32)
        self._output = np.zeros(capacity, np.int8)
        self._one = np.ones(capacity, np.int32)
        # llama.cpp wants, per row, a pointer to its list of sequence ids; every list here has one entry.
        self._sequence_at = self._sequence.ctypes.data + 4 * np.arange(capacity, dtype=np.uintp)
        self.native = llama_cpp.llama_batch(
            0,
            self._token.ctypes.data_as(ctypes.POINTER(llama_cpp.llama_token)),
            None,
            self._pos.ctypes.data_as(ctypes.POINTER(llama_cpp.llama_pos)),
            self._one.ctypes.data_as(ctypes.POINTER(ctypes.c_int32)),
            self._sequence_at.ctypes.data_as(ctypes.POINTER(ctypes.POINTER(llama_cpp.llama_seq_id))),
            self._output.ctypes.data_as(ctypes.POINTER(ctypes.c_int8)),
        )

    def clear(self) -> None:
        """Start a new step."""
        self.native.n_tokens = 0

    def add(self, sequence: int, position: int, tokens: Sequence[int], *, output: bool) -> int:
        """Append tokens of one sequence from `position` on; with `output` the last gets logits. Returns its row."""
        start: int = self.native.n_tokens
        end = start + len(tokens)
        self._token[start:end] = tokens
        self._pos[start:end] = np.arange(position, position + len(tokens))
        self._sequence[start:end] = sequence
        self._output[start:end] = 0
        self._output[end - 1] = output
        self.native.n_tokens = end
        return end - 1


class Context:
    """A model's working memory. Belongs to one thread."""

    def __init__(self, model: Model, options: ContextOptions) -> None:
        """Reserve the KV cache.

        Raises:
            ModelUnavailableError: llama.cpp cannot, with its reason, or the model is not one that continues texts.
        """
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = -(-options.cells // _PADDING) * _PADDING
        params.n_batch = params.n_ubatch = options.n_batch
        params.n_seq_max = options.sequences
        params.n_threads = params.n_threads_batch = options.n_threads
        params.flash_attn_type = FLASH_ATTENTION[options.flash_attn]
        params.type_k = params.type_v = KV_CACHE_TYPES[options.kv_cache_type]
        params.kv_unified = True
        params.no_perf = True
        with native_log.collect_errors() as errors:
            self.handle: Any = llama_cpp.llama_init_from_model(model.handle, params)
        if not self.handle:
            raise ModelUnavailableError(
                f"llama.cpp cannot make a context of {options.cells} cells: {native_log.reason(errors)}"
            )
        self.cells = options.cells
        self.batch = Batch(options.n_batch)
        self._memory = llama_cpp.llama_get_memory(self.handle)
        if not self._memory or llama_cpp.llama_model_has_encoder(model.handle):
            # Embedding models have no cache, and what they leave in place of logits means nothing.
            self.close()
            raise ModelUnavailableError(
                f"a model of the architecture '{model.architecture}' does not continue texts, so it cannot be served"
            )

    def decode(self) -> None:
        """Evaluate the batch: logits of its output rows are there afterwards.

        Raises:
            EngineError: llama.cpp found no room in the KV cache, or failed.
        """
        status = llama_cpp.llama_decode(self.handle, self.batch.native)
        if status:
            raise EngineError(f"llama.cpp could not evaluate a batch (llama_decode returned {status})")

    def share_prefix(self, source: int, target: int) -> None:
        """Let `target` see all cells of `source`; nothing is copied."""
        llama_cpp.llama_memory_seq_cp(self._memory, source, target, -1, -1)

    def forget(self, sequence: int) -> None:
        """Drop a sequence from the cache; cells that no other sequence sees become free."""
        llama_cpp.llama_memory_seq_rm(self._memory, sequence, -1, -1)

    def forget_all(self) -> None:
        """Empty the cache, for instance after a failed decode."""
        llama_cpp.llama_memory_clear(self._memory, True)

    def close(self) -> None:
        """Free the cache; harmless when called twice."""
        if self.handle:
            llama_cpp.llama_free(self.handle)
            self.handle = None
