"""A Llama in a hundred lines, all of whose arithmetic is kernels; and what llama.cpp says of the same tokens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFReader
from numpy.typing import NDArray

import kernels

MODEL = Path(__file__).resolve().parents[2] / "models" / "tiny" / "jarvis-tiny-q8_0.gguf"
TOKENS = 64
TEXT = """<|im_start|>user
Hello! Who are you?<|im_end|>
<|im_start|>assistant
I am Jarvis, a small language model.<|im_end|>
<|im_start|>user
What is the capital of France?<|im_end|>
<|im_start|>assistant
The capital of France is Paris.<|im_end|>
<|im_start|>user
What is 12 plus 7?<|im_end|>
<|im_start|>assistant
12 + 7 = 19<|im_end|>
"""

Floats = NDArray[np.float32]


class TinyLlama:
    """The bundled model: Q8_0 weights, rotary positions, heads in groups, SwiGLU, tied embeddings."""

    def __init__(self, path: Path = MODEL) -> None:
        reader = GGUFReader(path)
        self.weights: dict[str, NDArray[Any]] = {tensor.name: np.array(tensor.data) for tensor in reader.tensors}
        self._fields = {name.removeprefix("llama."): field.contents() for name, field in reader.fields.items()}
        self.width = int(self._fields["embedding_length"])
        self.head = int(self._fields["attention.key_length"])
        self.cos, self.sin = kernels.rope_tables(TOKENS, self.head, self._fields["rope.freq_base"])
        empty = np.empty((0, int(self._fields["attention.head_count_kv"]), self.head), np.float32)
        self.cache = [(empty, empty)] * int(self._fields["block_count"])

    def logits(self, tokens: Sequence[int]) -> Floats:
        """`[tokens, vocabulary]`; the tokens follow those of earlier calls."""
        embedding = self.weights["token_embd.weight"]
        x = kernels.dequantize_q8_0(embedding[list(tokens)], self.width)
        for layer in range(len(self.cache)):
            x = x + self._attention(layer, self._normed(x, f"blk.{layer}.attn_norm"))
            x = x + self._feed_forward(layer, self._normed(x, f"blk.{layer}.ffn_norm"))
        return self._times("token_embd", self._normed(x, "output_norm"))

    def _normed(self, x: Floats, name: str) -> Floats:
        return kernels.rmsnorm(x, self.weights[f"{name}.weight"], self._fields["attention.layer_norm_rms_epsilon"])

    def _times(self, name: str, x: Floats) -> Floats:
        return np.stack([kernels.matvec_q8_0(self.weights[f"{name}.weight"], row) for row in x])

    def _attention(self, layer: int, x: Floats) -> Floats:
        past_k, past_v = self.cache[layer]
        positions = slice(len(past_k), len(past_k) + len(x))
        q, k, v = (self._times(f"blk.{layer}.attn_{name}", x).reshape(len(x), -1, self.head) for name in "qkv")
        q, k = (kernels.rope(part, self.cos[positions], self.sin[positions], interleaved=True) for part in (q, k))
        k, v = np.concatenate([past_k, k]), np.concatenate([past_v, v])
        self.cache[layer] = k, v
        q, k, v = (np.ascontiguousarray(part.swapaxes(0, 1)) for part in (q, k, v))
        found = kernels.flash_attention(q, k, v)
        return self._times(f"blk.{layer}.attn_output", np.ascontiguousarray(found.swapaxes(0, 1)).reshape(len(x), -1))

    def _feed_forward(self, layer: int, x: Floats) -> Floats:
        gate, up = (self._times(f"blk.{layer}.ffn_{name}", x) for name in ("gate", "up"))
        return self._times(f"blk.{layer}.ffn_down", kernels.swiglu(gate, up))


def by_llama_cpp() -> tuple[NDArray[np.int64], Floats]:
    """The tokens of the text, and llama.cpp's logits after each."""
    import llama_cpp

    model = llama_cpp.Llama(str(MODEL), n_ctx=2 * TOKENS, logits_all=True, n_threads=1, verbose=False)
    tokens = model.tokenize(TEXT.encode(), add_bos=False, special=True)[:TOKENS]
    model.eval(tokens)
    logits = np.array(model.scores[: len(tokens)], np.float32)
    model.close()
    return np.array(tokens, np.int64), logits


def write(path: Path) -> None:
    """Keep what llama.cpp says, for processors that have no llama.cpp."""
    tokens, logits = by_llama_cpp()
    np.savez(path, tokens=tokens, logits=logits)
