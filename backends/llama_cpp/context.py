"""The native context: KV cache and working memory of one model, and the batch that a decode call reads."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import llama_cpp
import numpy as np
from numpy.typing import NDArray

from backends.base import EngineError, ModelUnavailableError
from backends.llama_cpp import native_log
from backends.llama_cpp.adapters import Adapters
from backends.llama_cpp.kv_size import KV_CACHE_TYPES as KV_CACHE_TYPES
from backends.llama_cpp.model import Model
from backends.types import KVCacheType, RopeScaling, Switch

FLASH_ATTENTION: Mapping[Switch, int] = {
    "auto": llama_cpp.LLAMA_FLASH_ATTN_TYPE_AUTO,
    "on": llama_cpp.LLAMA_FLASH_ATTN_TYPE_ENABLED,
    "off": llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED,
}
ROPE_SCALING: Mapping[RopeScaling | None, int] = {
    None: llama_cpp.LLAMA_ROPE_SCALING_TYPE_UNSPECIFIED,
    "none": llama_cpp.LLAMA_ROPE_SCALING_TYPE_NONE,
    "linear": llama_cpp.LLAMA_ROPE_SCALING_TYPE_LINEAR,
    "yarn": llama_cpp.LLAMA_ROPE_SCALING_TYPE_YARN,
    "longrope": llama_cpp.LLAMA_ROPE_SCALING_TYPE_LONGROPE,
}
_NO_FLASH = re.compile("Flash Attention not supported|flash_attn is not compatible")  # only llama.cpp's log tells
_PADDING = 256  # llama.cpp rounds a context up to this many cells
_CACHE_LINE = 16
"""Numbers of 4 bytes. llama.cpp lays out its memory for the largest batch, one piece after the other at multiples of 32
bytes. Where a list of rows does not fill cache lines, no tensor behind it begins at one: AVX-512 is a third slower."""
_OUTPUT_BYTES = 32 * 2**20  # for rows of logits; llama.cpp would reserve n_batch of them, half a gigabyte in some cases


@dataclass(frozen=True)
class ContextOptions:
    """Shape of a context: `cells` KV cells shared by `sequences` sequences, `n_batch` tokens a decode call at most.

    `n_threads_batch` threads evaluate more than one token (`None`: `n_threads`). What RoPE leaves open, the model says.
    """

    cells: int
    sequences: int
    n_batch: int
    n_threads: int
    n_threads_batch: int | None = None
    flash_attn: Switch = "auto"
    type_k: KVCacheType = "f16"
    type_v: KVCacheType = "f16"
    rope_scaling: RopeScaling | None = None
    rope_freq_base: float | None = None
    rope_freq_scale: float | None = None
    yarn_orig_ctx: int | None = None


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

    @property
    def rows(self) -> int:
        """Rows that were added since `clear`."""
        return int(self.native.n_tokens)

    def clear(self) -> None:
        """Start a new step."""
        self.native.n_tokens = 0

    def add(self, sequence: int, position: int, tokens: Sequence[int], *, output: int) -> int:
        """Append tokens of one sequence from `position` on, the last `output` with logits. Returns the last row."""
        start: int = self.native.n_tokens
        end = start + len(tokens)
        self._token[start:end] = tokens
        self._pos[start:end] = np.arange(position, position + len(tokens))
        self._sequence[start:end] = sequence
        self._output[start:end] = 0
        self._output[end - output : end] = 1
        self.native.n_tokens = end
        return end - 1


class Context:
    """A model's working memory. Belongs to one thread."""

    def __init__(self, model: Model, options: ContextOptions, adapters: Adapters | None = None) -> None:
        """Reserve the KV cache.

        Raises:
            ModelUnavailableError: llama.cpp cannot, with its reason, or the model is not one that continues texts.
        """
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = -(-options.cells // _PADDING) * _PADDING
        params.n_batch = params.n_ubatch = whole_lines(options.n_batch)
        params.n_seq_max = options.sequences
        rows = min(options.n_batch, _OUTPUT_BYTES // (4 * model.vocab.size))
        self.outputs = params.n_outputs_max = whole_lines(max(options.sequences, rows))
        params.n_threads = options.n_threads
        params.n_threads_batch = options.n_threads_batch or options.n_threads
        params.flash_attn_type = FLASH_ATTENTION[options.flash_attn]
        params.type_k, params.type_v = KV_CACHE_TYPES[options.type_k], KV_CACHE_TYPES[options.type_v]
        params.rope_scaling_type = ROPE_SCALING[options.rope_scaling]
        params.rope_freq_base = options.rope_freq_base or 0.0  # llama.cpp's "as the model says", as for all of these
        params.rope_freq_scale = options.rope_freq_scale or 0.0
        params.yarn_orig_ctx = options.yarn_orig_ctx or 0
        params.kv_unified = True
        params.no_perf = True
        with native_log.collect_errors() as errors:
            self.handle: Any = llama_cpp.llama_init_from_model(model.handle, params)
        if not self.handle:
            raise ModelUnavailableError(
                f"llama.cpp cannot make a context of {options.cells} cells: {native_log.reason(errors)}"
            )
        self.options = options
        self.flash_attn = options.flash_attn != "off" and not any(_NO_FLASH.search(line) for line in errors)
        plain = options.type_k == options.type_v and options.type_k in ("f16", "f32")
        self.tiled = self.flash_attn and plain and not llama_cpp.llama_supports_gpu_offload()
        """Whether attention over many rows works in tiles (`plan.TILE`)."""
        self.cells, self.sequences = options.cells, options.sequences
        self.vocab_size = model.vocab.size
        """Logits in a row; at most `outputs` rows of a batch have them."""
        self.batch = Batch(options.n_batch)
        self._memory = llama_cpp.llama_get_memory(self.handle)
        self._adapters = adapters
        self._window: int = llama_cpp.llama_model_n_swa(model.handle)
        if not self._memory or llama_cpp.llama_model_has_encoder(model.handle):
            # Embedding models have no cache, and what they leave in place of logits means nothing.
            self.close()
            raise ModelUnavailableError(
                f"a model of the architecture '{model.architecture}' does not continue texts, so it cannot be served"
            )

    def use_adapter(self, name: str | None) -> None:
        """Compute with one of the model's adapters from now on, or with none."""
        if self._adapters is not None:
            self._adapters.use(self.handle, name)

    def decode(self) -> None:
        """Evaluate the batch: logits of its output rows are there afterwards.

        Raises:
            EngineError: llama.cpp found no room in the KV cache, or failed.
        """
        status = llama_cpp.llama_decode(self.handle, self.batch.native)
        if status:
            raise EngineError(f"llama.cpp could not evaluate a batch (llama_decode returned {status})")
        llama_cpp.llama_synchronize(self.handle)

    def logits(self, row: int) -> NDArray[np.float32]:
        """The logits of an output row, in llama.cpp's own buffer: valid until the next `decode`."""
        address = llama_cpp.llama_get_logits_ith(self.handle, row)
        return np.ctypeslib.as_array(address, (self.vocab_size,))

    def intact(self, sequence: int, length: int) -> bool:
        """Whether the first `length` cells of a sequence are there, as far as a token after them looks back.

        llama.cpp overwrites cells that have left the sliding window of the only sequence that sees them, even where
        there are free ones.
        """
        if not self._window:
            return True
        first: int = llama_cpp.llama_memory_seq_pos_min(self._memory, sequence)
        return 0 <= first <= max(0, length - self._window + 1)

    def copy(self, source: int, target: int, length: int) -> None:
        """Let `target` see the first `length` cells of `source`; no tensor is copied.

        Where a sequence cannot be cut (recurrent memory) it must be all that `source` has.
        """
        llama_cpp.llama_memory_seq_cp(self._memory, source, target, 0, length)

    def trim(self, sequence: int, length: int) -> None:
        """Take all but the first `length` cells from a sequence; cells that no other sequence sees become free.

        Raises:
            EngineError: this memory cannot be cut there.
        """
        if not llama_cpp.llama_memory_seq_rm(self._memory, sequence, length, -1):
            raise EngineError(f"the cache of this model cannot be cut after {length} tokens")

    def forget(self, sequence: int) -> None:
        """Take all cells from a sequence; those that no other sequence sees become free."""
        llama_cpp.llama_memory_seq_rm(self._memory, sequence, -1, -1)

    def save(self, sequence: int) -> NDArray[np.uint8]:
        """A copy of what a sequence's cells hold, in llama.cpp's own form."""
        size: int = llama_cpp.llama_state_seq_get_size(self.handle, sequence)
        saved = np.empty(size, np.uint8)
        written = llama_cpp.llama_state_seq_get_data(self.handle, _bytes_of(saved), size, sequence)
        return saved[:written]

    def restore(self, sequence: int, saved: NDArray[np.uint8]) -> bool:
        """Fill cells of an empty sequence with what was saved; false, and no cell taken, if there is no room."""
        return bool(llama_cpp.llama_state_seq_set_data(self.handle, _bytes_of(saved), saved.size, sequence))

    def forget_all(self) -> None:
        """Empty the cache, for instance after a failed decode."""
        llama_cpp.llama_memory_clear(self._memory, True)

    def close(self) -> None:
        """Free the cache; harmless when called twice."""
        if self.handle:
            llama_cpp.llama_free(self.handle)
            self.handle = None


def whole_lines(rows: int) -> int:
    """The next number of rows whose list fills cache lines."""
    return -(-rows // _CACHE_LINE) * _CACHE_LINE


def _bytes_of(array: NDArray[np.uint8]) -> Any:
    return array.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
