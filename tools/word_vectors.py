"""Vectors of single words for `tools.train_router`: what a table of words can know of others.

    python -m tools.word_vectors FILE.npz

They are the rows of the static embedding that ships, of every whole word: their sums over a text were fitted to a
sentence encoder's vectors of whole texts, which is what the router's table does with them as well.
"""

import argparse
from pathlib import Path

import numpy as np

from app.embedding.static import Floats, StaticEmbedder
from app.embedding.table import load


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description="Vectors of single words from the static embedding.")
    parser.add_argument("file", type=Path)
    given = parser.parse_args()
    words, vectors = word_vectors(load())
    np.savez_compressed(given.file, words=np.array(words), vectors=vectors.astype(np.float16))
    print(f"{len(words)} words, {vectors.shape[1]} dimensions")


def word_vectors(embedder: StaticEmbedder) -> tuple[list[str], Floats]:
    """The embedding's words and their rows, scaled to a mean square norm of 1."""
    words, rows = embedder.words()
    return words, np.asarray(rows / np.sqrt((rows * rows).sum(1).mean()), np.float32)


if __name__ == "__main__":
    main()
