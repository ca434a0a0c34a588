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
    assert all(word.isalpha() and len(word) > 1 for word in words)
    assert "cats" in words
    rows = np.array([embedder.row(embedder.tokens.encode(word)[0]) for word in words])
    assert (vectors**2).sum(1).mean() == pytest.approx(1)
    assert np.allclose(vectors * (rows[0, 0] / vectors[0, 0]), rows, atol=1e-6)
