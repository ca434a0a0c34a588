from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.minilm import WIDTH, Floats
from tools import minilm

TEXTS = ["a cat", "two dogs run in the park", "a dog", "a cat"]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shapes that the encoder was asked for; it says how long a text is."""
    found: list[tuple[int, ...]] = []

    def encoded(ids: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> Floats:
        found.append(ids.shape)
        return np.full((len(ids), WIDTH), ids.shape[1], np.float32)

    monkeypatch.setattr(minilm, "encoded", encoded)
    monkeypatch.setattr(minilm, "token_ids", lambda text: [101, *map(len, text.split()), 102])
    return found


def test_texts_of_one_length_go_together_and_equal_ones_once(tmp_path: Path, calls: list[tuple[int, ...]]) -> None:
    assert minilm.embedded(TEXTS, tmp_path)[:, 0].tolist() == [4, 8, 4, 4]
    assert calls == [(2, 4), (1, 8)]


def test_what_was_computed_once_is_read_from_disk(tmp_path: Path, calls: list[tuple[int, ...]]) -> None:
    first = minilm.embedded(TEXTS, tmp_path)
    calls.clear()
    assert np.array_equal(minilm.embedded([*TEXTS[::-1]], tmp_path), first[::-1])
    assert calls == []


def test_a_long_text_is_cut_to_what_the_model_was_trained_for(tmp_path: Path, calls: list[tuple[int, ...]]) -> None:
    minilm.embedded(["word " * 1000], tmp_path)
    assert calls == [(1, minilm.MOST_TOKENS)]


def test_no_text_has_no_vector(tmp_path: Path) -> None:
    assert minilm.embedded([], tmp_path).shape == (0, WIDTH)
