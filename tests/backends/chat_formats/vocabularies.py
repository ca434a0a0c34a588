"""Real vocabularies, loaded once per test run."""

from __future__ import annotations

import ctypes
from functools import cache, cached_property
from typing import Any

import llama_cpp

from backends.chat_formats.encoding import PromptEncoder
from backends.llama_cpp.vocab import Vocabulary
from tests.sdist import vocabulary_file

FAMILIES = ("llama-bpe", "qwen2", "phi-3", "llama-spm", "gemma-4", "command-r", "deepseek-coder")
"""One of each kind: byte-level BPE, SentencePiece, tokens that strip whitespace, many user-defined tokens."""


def _silent(_level: int, _text: bytes, _data: ctypes.c_void_p) -> None:
    """llama.cpp reports on stderr while it loads; nobody reads that here."""


# ctypes drops a callback that nobody holds, and llama.cpp would then call into nothing.
_LOG = llama_cpp.llama_log_callback(_silent)


class LoadedVocabulary(Vocabulary):
    """A vocabulary that keeps the model alive which it belongs to."""

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.model = model

    @cached_property
    def _markers(self) -> set[int]:
        ordinary = {i for t, i in self.user_defined_tokens.items() if len(t) < 2 or t.isspace() or t.isalnum()}
        return set(self.control_tokens.values()) - ordinary

    def marker_count(self, ids: list[int]) -> int:
        """How many of these ids are control tokens or user-defined tokens that are not mere spaces or letters."""
        return sum(i in self._markers for i in ids)


@cache
def vocabulary(name: str) -> LoadedVocabulary:
    """The tokeniser of a model family, by the name that llama.cpp gives its file."""
    llama_cpp.llama_log_set(_LOG, ctypes.c_void_p(0))
    parameters = llama_cpp.llama_model_default_params()
    parameters.vocab_only = True
    model = llama_cpp.llama_model_load_from_file(str(vocabulary_file(name)).encode(), parameters)
    return LoadedVocabulary(model)


@cache
def encoder(name: str) -> PromptEncoder:
    """What turns prompts into ids of that vocabulary."""
    return PromptEncoder(vocabulary(name))
