from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from app.embedding.table import load
from tests.app.embedding.small import small
from tools.word_vectors import word_vectors


def test_whole_words_have_their_rows_at_one_scale(tmp_path: Path) -> None:
    small(tmp_path / "e.bin")
    embedder = load(tmp_path / "e.bin")
    words, vectors = word_vectors(embedder)
    assert words == ["cat", "dog", "sat"]
    rows = np.array([embedder.words()[1][place] for place in range(3)])
    assert (vectors**2).sum(1).mean() == pytest.approx(1)
    assert np.allclose(vectors * np.linalg.norm(rows) / np.linalg.norm(vectors), rows, atol=1e-5)
