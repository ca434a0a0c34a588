"""Vectors of single words from all-MiniLM-L6-v2, for `tools.train_router`: what a table of words can know of others.

    python -m tools.word_vectors FILE.npz

Every whole word of the model's vocabulary goes through the encoder by itself, as model2vec does it (Apache-2.0, as the
model is). The vectors are reduced by PCA and written with the words. Takes about a minute on two cores.
"""

import argparse
import math
from pathlib import Path

import numpy as np

from tests.minilm import HEADS, LAYERS, Floats, _gelu, token_ids, vocabulary, weights

DIMENSIONS = 96
_BATCH = 1024
_EPSILON = 1e-12


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description="Vectors of single words from all-MiniLM-L6-v2.")
    parser.add_argument("file", type=Path)
    given = parser.parse_args()
    words = [word for word in vocabulary() if word.isalpha() and len(word) > 1 and len(token_ids(word)) == 3]
    vectors = np.concatenate([encoded(words[begin : begin + _BATCH]) for begin in range(0, len(words), _BATCH)])
    reduced = principal(vectors, DIMENSIONS)
    np.savez_compressed(given.file, words=np.array(words), vectors=reduced.astype(np.float16))
    print(f"{len(words)} words, {reduced.shape[1]} dimensions")


def encoded(words: list[str]) -> Floats:
    """The vectors of words that are one token each, [words, 384]: the mean over `[CLS] word [SEP]`, norm 1."""
    found = {name: tensor.copy() for name, tensor in weights().items()}  # aligned, which BLAS asks for

    def linear(x: Floats, name: str) -> Floats:
        flat = x.reshape(-1, x.shape[-1]) @ found[f"{name}.weight"].T  # one product instead of one per word
        return np.asarray(flat.reshape(*x.shape[:-1], -1) + found[f"{name}.bias"])

    def normed(x: Floats, name: str) -> Floats:
        x = x - x.mean(-1, keepdims=True)
        x = x / np.sqrt((x * x).mean(-1, keepdims=True) + _EPSILON)
        return np.asarray(x * found[f"{name}.weight"] + found[f"{name}.bias"])

    ids = np.array([token_ids(word) for word in words])
    x = found["embeddings.word_embeddings.weight"][ids] + found["embeddings.position_embeddings.weight"][:3]
    x = normed(x + found["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    for layer in range(LAYERS):
        name = f"encoder.layer.{layer}"
        query, key, value = (_heads(linear(x, f"{name}.attention.self.{part}")) for part in ("query", "key", "value"))
        scores = query @ key.transpose(0, 1, 3, 2) / math.sqrt(query.shape[-1])
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        shares /= shares.sum(-1, keepdims=True)
        attended = (shares @ value).transpose(0, 2, 1, 3).reshape(x.shape)
        x = normed(x + linear(attended, f"{name}.attention.output.dense"), f"{name}.attention.output.LayerNorm")
        inner = _gelu(linear(x, f"{name}.intermediate.dense"))
        x = normed(x + linear(inner, f"{name}.output.dense"), f"{name}.output.LayerNorm")
    mean = x.mean(1)
    return np.asarray(mean / np.linalg.norm(mean, axis=1, keepdims=True))


def _heads(x: Floats) -> Floats:
    return x.reshape(*x.shape[:2], HEADS, -1).transpose(0, 2, 1, 3)


def principal(vectors: Floats, dimensions: int) -> Floats:
    """The vectors, centred, on their first principal axes, scaled to a mean square norm of 1."""
    centred = vectors - vectors.mean(0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    found = centred @ axes[:, ::-1][:, :dimensions]
    return np.asarray(found / np.sqrt((found * found).sum(1).mean()))


if __name__ == "__main__":
    main()
