"""The reference for every cache: each text evaluated from its first token, in an empty context of llama.cpp's own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import llama_cpp
import numpy as np
from numpy.typing import NDArray

CLEAR = 0.01
"""Distance between the two best logits from which on the batch's shape does not decide which is best."""


class ColdModel:
    """A model with a float32 cache that holds one text, and forgets it for the next one.

    Without flash attention, which rounds more, and differently for batches of different sizes.
    """

    def __init__(self, path: Path, *, longest: int = 2048) -> None:
        """Load `path`, for texts of at most `longest` tokens."""
        self._model: Any = llama_cpp.llama_model_load_from_file(
            os.fsencode(path), llama_cpp.llama_model_default_params()
        )
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = params.n_batch = params.n_ubatch = longest
        params.n_threads = params.n_threads_batch = 1
        params.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
        params.type_k = params.type_v = llama_cpp.GGML_TYPE_F32
        self._context: Any = llama_cpp.llama_init_from_model(self._model, params)
        vocab = llama_cpp.llama_model_get_vocab(self._model)
        self._vocab_size: int = llama_cpp.llama_vocab_n_tokens(vocab)
        self._ends = [token for token in range(self._vocab_size) if llama_cpp.llama_vocab_is_eog(vocab, token)]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        llama_cpp.llama_free(self._context)
        llama_cpp.llama_model_free(self._model)

    def answer(self, prompt: Sequence[int], length: int) -> list[int]:
        """The most probable `length` tokens after `prompt`, or as many as are so by a clear distance.

        No token ends the answer: those that could are left out.
        """
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self._context), True)
        answer: list[int] = []
        logits = self._evaluate(prompt)
        while len(answer) < length:
            logits[self._ends] = -np.inf
            second, best = np.argpartition(logits, -2)[-2:]
            if logits[best] - logits[second] < CLEAR:
                break
            answer.append(int(best))
            logits = self._evaluate(answer[-1:])
        return answer

    def _evaluate(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """Logits after `tokens`, appended to what was evaluated before."""
        ids = (llama_cpp.llama_token * len(tokens))(*tokens)
        assert llama_cpp.llama_decode(self._context, llama_cpp.llama_batch_get_one(ids, len(tokens))) == 0
        logits = llama_cpp.llama_get_logits_ith(self._context, -1)
        return np.ctypeslib.as_array(logits, (self._vocab_size,)).copy()
