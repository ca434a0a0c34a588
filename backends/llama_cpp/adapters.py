"""LoRA adapters: small corrections of a model's matrices, loaded once and set on a context as requests need them."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping
from typing import Any

import llama_cpp

from backends.base import ModelUnavailableError
from backends.gguf_header import GGUFHeader
from backends.llama_cpp import native_log
from backends.llama_cpp.model import Model
from backends.lora_file import check_adapter


class Adapters:
    """The adapters of one model by name. Belongs to the thread that owns the context."""

    def __init__(self, model: Model, paths: Mapping[str, str], base: GGUFHeader | None = None) -> None:
        """Load the files of `paths`, by adapter name; `base` is the header of the model's own file.

        Raises:
            ModelUnavailableError: names the adapter, its file, and why it cannot be used with this model.
        """
        self._loaded: dict[str, Any] = {}
        self._set: tuple[Any, str | None] | None = None
        for name, path in paths.items():
            try:
                check_adapter(path, base)
                self._loaded[name] = _load(model, path)
            except ModelUnavailableError as error:
                self.close()
                raise ModelUnavailableError(f"the LoRA adapter '{name}' cannot be used: {error.message}") from None

    @property
    def names(self) -> tuple[str, ...]:
        """What `use` knows."""
        return tuple(self._loaded)

    def use(self, context: Any, name: str | None) -> None:
        """Let the native `context` compute with this adapter from now on, and with no other; `None`: with none.

        Adapters belong to a whole context, so sequences with different ones cannot share a decode call. After a change
        llama.cpp plans its next decode call anew, which costs a moment; without a change nothing happens.

        Raises:
            KeyError: there is no such adapter.
        """
        if self._set == (context, name):
            return
        chosen = () if name is None else (self._loaded[name],)
        handles = (llama_cpp.llama_adapter_lora_p_ctypes * 1)(*chosen)
        llama_cpp.llama_set_adapters_lora(context, handles, len(chosen), (ctypes.c_float * 1)(1.0))
        self._set = (context, name)

    def close(self) -> None:
        """Free the adapters, after the contexts that used them and before the model; harmless when called twice."""
        for handle in self._loaded.values():
            llama_cpp.llama_adapter_lora_free(handle)
        self._loaded.clear()
        self._set = None


def _load(model: Model, path: str) -> Any:
    with native_log.collect_errors() as errors:
        handle = llama_cpp.llama_adapter_lora_init(model.handle, os.fsencode(path))
    if not handle:
        cause = native_log.reason(errors).rsplit("failed to apply lora adapter: ", 1)[-1]
        raise ModelUnavailableError(f"llama.cpp cannot apply {path} to this model: {cause}")
    if llama_cpp.llama_adapter_get_alora_n_invocation_tokens(handle):
        llama_cpp.llama_adapter_lora_free(handle)
        raise ModelUnavailableError(f"{path} is an activated LoRA (aLoRA), which is more than an adapter to switch on")
    return handle
