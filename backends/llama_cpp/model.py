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
from backends.types import LlamaOptions, SplitMode

SPLIT_MODES: Mapping[SplitMode, int] = {
    "none": llama_cpp.LLAMA_SPLIT_MODE_NONE,
    "layer": llama_cpp.LLAMA_SPLIT_MODE_LAYER,
    "row": llama_cpp.LLAMA_SPLIT_MODE_ROW,
}
_LOAD_MODES = {  # by (mmap, mlock)
    (True, False): llama_cpp.LLAMA_LOAD_MODE_AUTO,  # mapped, unless a device cannot
    (True, True): llama_cpp.LLAMA_LOAD_MODE_MMAP_MLOCK,
    (False, False): llama_cpp.LLAMA_LOAD_MODE_NONE,
    (False, True): llama_cpp.LLAMA_LOAD_MODE_MLOCK,
}


class Model:
    """Weights and vocabulary of one GGUF file."""

    def __init__(
        self, path: str, options: LlamaOptions | None = None, *, progress: Callable[[float], None] = lambda _: None
    ) -> None:
        """Load `path`; `progress` hears fractions from 0 to 1, on the calling thread.

        Raises:
            ModelUnavailableError: llama.cpp refused the file; the message ends with llama.cpp's own reason. Or
                `tensor_split` names more devices than there can be.
        """
        params = _native_params(options or LlamaOptions())

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
    def prefixes_can_be_shared(self) -> bool:
        """Whether the memory keeps all tokens apart; one that is recurrent, or partly so, has only its latest state."""
        model = self.handle
        return not (llama_cpp.llama_model_is_recurrent(model) or llama_cpp.llama_model_is_hybrid(model))

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return int(llama_cpp.llama_model_n_params(self.handle))

    @property
    def size_bytes(self) -> int:
        """Bytes of all tensors."""
        return int(llama_cpp.llama_model_size(self.handle))

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


def _native_params(options: LlamaOptions) -> Any:
    """llama.cpp's parameters for loading a model."""
    params = llama_cpp.llama_model_default_params()
    params.n_gpu_layers = options.n_gpu_layers
    params.split_mode = SPLIT_MODES[options.split_mode]
    params.main_gpu = options.main_gpu
    params.load_mode = _LOAD_MODES[options.mmap, options.mlock]
    if options.tensor_split:
        most = llama_cpp.LLAMA_MAX_DEVICES
        if len(options.tensor_split) > most:
            raise ModelUnavailableError(
                f"the tensor split has {len(options.tensor_split)} proportions, but llama.cpp uses {most} GPUs at most"
            )
        # llama.cpp reads `most` numbers and copies them; the structure keeps the array alive until then.
        params.tensor_split = (ctypes.c_float * most)(*options.tensor_split)
    return params
