"""The native context of an embedding model: token ids in, one pooled vector per input out.

Encoders (BERT and its kin) see an input as a whole, so all of it is evaluated in one call. Decoders are fed piece by
piece: llama.cpp computes logits for every row of an embedding batch, wanted or not, which takes memory for each row.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import llama_cpp
import numpy as np
from numpy.typing import NDArray

from backends.base import EngineError, ModelUnavailableError
from backends.llama_cpp import native_log
from backends.llama_cpp.context import FLASH_ATTENTION, Batch, whole_lines
from backends.llama_cpp.model import Model
from backends.types import Switch

log = logging.getLogger(__name__)

SEQUENCES = 64
"""Most inputs in one batch."""

Vectors = NDArray[np.float32]
Piece = tuple[int, int, Sequence[int]]
"""A run of one input's tokens: the number of the input, the position of the first token, the ids."""

_PADDING = 256  # llama.cpp rounds a context up to this many cells
_MEAN, _CLS, _LAST = 1, 2, 3  # enum llama_pooling_type
POOLINGS = {_MEAN: "mean", _CLS: "cls", _LAST: "last"}
"""How token vectors become one: their mean, the first, or the last."""


@dataclass(frozen=True)
class EmbeddingOptions:
    """Shape of a context: inputs of up to `window` tokens; those of one batch have up to `n_batch` together."""

    window: int
    n_batch: int
    n_threads: int
    flash_attn: Switch = "auto"


class EmbeddingContext:
    """A model's working memory. Belongs to one thread."""

    def __init__(self, model: Model, options: EmbeddingOptions) -> None:
        """Reserve the memory.

        Raises:
            ModelUnavailableError: llama.cpp cannot, with its reason, or the model is of a kind that has no embeddings.
        """
        self.n_batch = max(options.n_batch, SEQUENCES)
        self.width = int(llama_cpp.llama_model_n_embd_out(model.handle))
        pooling = pooling_of(model)
        self._open(model, options, self.n_batch, pooling)
        # Which kind of model this is can be asked of a context only.
        if self.sees_whole_inputs and options.window > self.n_batch:
            self.close()
            self._open(model, options, options.window, pooling)
        encodes = llama_cpp.llama_model_has_encoder(model.handle) or not self._memory
        self._call = llama_cpp.llama_encode if encodes else llama_cpp.llama_decode

    def _open(self, model: Model, options: EmbeddingOptions, step: int, pooling: int) -> None:
        params = llama_cpp.llama_context_default_params()
        params.embeddings = True
        params.pooling_type = pooling
        params.n_ctx = -(-max(step, options.window) // _PADDING) * _PADDING
        params.n_batch = params.n_ubatch = whole_lines(step)
        params.n_seq_max = SEQUENCES
        params.n_threads = params.n_threads_batch = options.n_threads
        params.flash_attn_type = FLASH_ATTENTION[options.flash_attn]
        params.kv_unified = True
        params.no_perf = True
        with native_log.collect_errors() as errors:
            self.handle: Any = llama_cpp.llama_init_from_model(model.handle, params)
        if not self.handle:
            raise ModelUnavailableError(
                f"llama.cpp cannot make a context for inputs of {options.window} tokens: {native_log.reason(errors)}"
            )
        self._batch = Batch(step)
        self._memory = llama_cpp.llama_get_memory(self.handle)
        self._pooling = llama_cpp.llama_pooling_type(self.handle)
        causal = self._memory and llama_cpp.llama_get_causal_attn(self.handle)
        self.sees_whole_inputs = not causal or llama_cpp.llama_model_has_encoder(model.handle)
        """Whether every token of an input bears on every other, so that it cannot be evaluated in pieces."""
        self.cells = params.n_ctx if self._memory else 0
        """Tokens that the KV cache holds."""

    def settings(self) -> dict[str, Any]:
        """What llama.cpp really works with; JSON-like values."""
        return {
            "n_threads_batch": llama_cpp.llama_n_threads_batch(self.handle),
            "n_batch": self.n_batch,
            "pooling": POOLINGS[self._pooling],
            "dimensions": self.width,
        }

    def embed(self, inputs: Sequence[Sequence[int]]) -> Vectors:
        """The pooled vectors of up to `SEQUENCES` inputs, float32 (inputs, width), not normalised.

        Inputs have `n_batch` tokens together, or there is one, of up to the window.

        Raises:
            EngineError: llama.cpp failed.
        """
        vectors = np.zeros((len(inputs), self.width), np.float32)
        if self._memory:
            llama_cpp.llama_memory_clear(self._memory, False)
        for pieces in _steps(inputs, self._batch.capacity):
            self._evaluate(pieces)
            for number, start, tokens in pieces:
                self._pool(vectors[number], self._pooled(number), start, len(tokens) / len(inputs[number]))
        return vectors

    def _evaluate(self, pieces: Sequence[Piece]) -> None:
        self._batch.clear()
        for number, start, tokens in pieces:
            self._batch.add(number, start, tokens, output=len(tokens))
        status = self._call(self.handle, self._batch.native)
        if status:
            raise EngineError(f"llama.cpp could not evaluate a batch (status {status})")

    def _pooled(self, number: int) -> Vectors:
        address = llama_cpp.llama_get_embeddings_seq(self.handle, number)
        if not address:
            raise EngineError("llama.cpp gave no vector for an input")
        return np.ctypeslib.as_array(address, (self.width,))

    def _pool(self, vector: Vectors, pooled: Vectors, start: int, share: float) -> None:
        """Take the pooled vector of a piece, from `start` on, that is `share` of its input into the input's vector."""
        if self._pooling == _MEAN:
            vector += share * pooled
        elif self._pooling == _LAST or start == 0:
            vector[:] = pooled

    def close(self) -> None:
        """Free the memory; harmless when called twice."""
        if self.handle:
            llama_cpp.llama_free(self.handle)
            self.handle = None


def pooling_of(model: Model) -> int:
    """llama.cpp's number for how token vectors become one: as the file says, and the mean where it says nothing.

    Raises:
        ModelUnavailableError: the model scores pairs of texts, or writes one text from another, and has no embeddings.
    """
    if llama_cpp.llama_model_has_encoder(model.handle) and llama_cpp.llama_model_has_decoder(model.handle):
        raise ModelUnavailableError(
            f"a model of the architecture '{model.architecture}' turns one text into another and has no embeddings"
        )
    said = model.metadata.get(f"{model.architecture}.pooling_type")
    if said == str(llama_cpp.LLAMA_POOLING_TYPE_RANK):
        raise ModelUnavailableError("the model ranks texts (a reranker) and has no embeddings")
    if said in [str(kind) for kind in POOLINGS]:
        return int(llama_cpp.LLAMA_POOLING_TYPE_UNSPECIFIED)
    log.warning("the model file does not say how token vectors become one; their mean is taken")
    return _MEAN


def _steps(inputs: Sequence[Sequence[int]], size: int) -> Iterator[list[Piece]]:
    """The inputs one after the other, cut into steps of up to `size` tokens; an input may go on in the next step."""
    pieces: list[Piece] = []
    room = size
    for number, tokens in enumerate(inputs):
        start = 0
        while start < len(tokens):
            if not room:
                yield pieces
                pieces, room = [], size
            taken = tokens[start : start + room]
            pieces.append((number, start, taken))
            room -= len(taken)
            start += len(taken)
    yield pieces
