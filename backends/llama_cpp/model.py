"""The native model: weights, vocabulary and metadata of one GGUF file."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import llama_cpp

from backends.base import ModelUnavailableError
from backends.llama_cpp import native_log
from backends.llama_cpp.vocab import Vocabulary


class Model:
    """Weights and vocabulary of one GGUF file."""

    def __init__(self, path: str, *, n_gpu_layers: int, progress: Callable[[float], None]) -> None:
        """Load `path`; `progress` hears fractions from 0 to 1, on the calling thread.

        Raises:
            ModelUnavailableError: llama.cpp refused the file; the message ends with llama.cpp's own reason.
        """
        params = llama_cpp.llama_model_default_params()
        params.n_gpu_layers = n_gpu_layers

        def report(fraction: float, _: object) -> bool:
            progress(fraction)
            return True

        callback = llama_cpp.llama_progress_callback(report)
        params.progress_callback = callback
        with native_log.collect_errors() as errors:
            self.handle: Any = llama_cpp.llama_model_load_from_file(os.fsencode(path), params)
        if not self.handle:
            raise ModelUnavailableError(f"llama.cpp cannot load {Path(path).name}: {native_log.reason(errors)}")
        self.vocab = Vocabulary(self.handle)

    @cached_property
    def metadata(self) -> Mapping[str, str]:
        """The GGUF key-value pairs that have a textual form."""
        return {
            self._text(llama_cpp.llama_model_meta_key_by_index, i): self._text(
                llama_cpp.llama_model_meta_val_str_by_index, i
            )
            for i in range(llama_cpp.llama_model_meta_count(self.handle))
        }

    @property
    def architecture(self) -> str:
        """`general.architecture`, for instance `llama`."""
        return self.metadata.get("general.architecture", "unknown")

    @property
    def chat_template(self) -> str | None:
        """The model's own Jinja chat template, if the file carries one."""
        return self.metadata.get("tokenizer.chat_template")

    @property
    def trained_context(self) -> int:
        """Tokens of context that the model was trained on."""
        return int(llama_cpp.llama_model_n_ctx_train(self.handle))

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return int(llama_cpp.llama_model_n_params(self.handle))

    @property
    def size_bytes(self) -> int:
        """Bytes of all tensors."""
        return int(llama_cpp.llama_model_size(self.handle))

    @property
    def kv_width(self) -> int:
        """Numbers in one KV cell, keys and values, if all layers are like the first; an estimate where they differ."""
        heads, kv_heads = llama_cpp.llama_model_n_head(self.handle), llama_cpp.llama_model_n_head_kv(self.handle)
        usual = str(llama_cpp.llama_model_n_embd(self.handle) // max(heads, 1))
        key, value = (
            int(self.metadata.get(f"{self.architecture}.attention.{part}_length", usual)) for part in ("key", "value")
        )
        return int(llama_cpp.llama_model_n_layer(self.handle) * kv_heads * (key + value))

    def close(self) -> None:
        """Free the weights; harmless when called twice."""
        if self.handle:
            llama_cpp.llama_model_free(self.handle)
            self.handle = None

    def _text(self, read: Callable[..., int], index: int) -> str:
        room = 256
        while True:
            buffer = ctypes.create_string_buffer(room)
            n = read(self.handle, index, buffer, room)
            if n < room:
                return buffer.raw[: max(n, 0)].decode(errors="replace")
            room = n + 1
