"""Vectors of single words from all-MiniLM-L6-v2, for `tools.train_router`: what a table of words can know of others.

    python -m tools.word_vectors FILE.npz

Every whole word of the model's vocabulary goes through the encoder by itself, as model2vec does it (Apache-2.0, as the
model is). The vectors are reduced by PCA and written with the words. Takes about a minute on two cores.
"""

import argparse
from pathlib import Path

import numpy as np

from tests.minilm import Floats, token_ids, vocabulary
from tools.minilm import encoded

DIMENSIONS = 96
_BATCH = 1024


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description="Vectors of single words from all-MiniLM-L6-v2.")
    parser.add_argument("file", type=Path)
    given = parser.parse_args()
    words = [word for word in vocabulary() if word.isalpha() and len(word) > 1 and len(token_ids(word)) == 3]
    ids = np.array([token_ids(word) for word in words])
    vectors = np.concatenate([encoded(ids[begin : begin + _BATCH]) for begin in range(0, len(ids), _BATCH)])
    reduced = principal(vectors, DIMENSIONS)
    np.savez_compressed(given.file, words=np.array(words), vectors=reduced.astype(np.float16))
    print(f"{len(words)} words, {reduced.shape[1]} dimensions")


def principal(vectors: Floats, dimensions: int) -> Floats:
    """The vectors, centred, on their first principal axes, scaled to a mean square norm of 1."""
    centred = vectors - vectors.mean(0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    found = centred @ axes[:, ::-1][:, :dimensions]
    return np.asarray(found / np.sqrt((found * found).sum(1).mean()))


if __name__ == "__main__":
    main()
