"""A vocabulary of a few tokens and a table for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from app.embedding.static import Floats, StaticEmbedder
from app.embedding.table import load, quantised, save

VOCABULARY = ["[PAD]", "[UNK]", "cat", "dog", "##s", "sat", ".", "é", "日"]
FIRST, BUCKETS, WIDTH = 2, 3, 8


def rows() -> Floats:
    """[rows, WIDTH]: one per token from `FIRST` on, those of unknown words, the one for nothing."""
    count = len(VOCABULARY) - FIRST + BUCKETS + 1
    return np.random.default_rng(7).standard_normal((count, WIDTH)).astype(np.float32)


def small(path: Path) -> StaticEmbedder:
    """The embedder, written to a file and read back."""
    save(path, VOCABULARY, quantised(rows()), FIRST)
    return load(path)
