"""The parts of the distillation that need no encoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tools.bags import Bags, Schedule, fitted
from tools.distil_embedder import APART, FIRST_WORD, SMOOTHING, definitions, principal_axes, unknown_rows, weights

CHANCE = np.random.default_rng(3)
IDS = [[5, 2, 2], [9], [2, 9, 9, 9]]


def test_sums_are_those_of_the_tokens_rows() -> None:
    bags = Bags(IDS)
    rows = CHANCE.standard_normal((3, 4)).astype(np.float32)
    assert bags.used.tolist() == [2, 5, 9]
    assert bags.counts.tolist() == [3, 1, 4]
    np.testing.assert_allclose(
        bags.sums(rows), [2 * rows[0] + rows[1], rows[2], rows[0] + 3 * rows[2]], rtol=1e-5, atol=1e-6
    )


def test_gradients_are_the_other_way_round() -> None:
    """Sums are linear: <sums(R), G> = <R, gradients(G)>."""
    bags = Bags(IDS)
    rows, given = CHANCE.standard_normal((2, 3, 4)).astype(np.float32)
    assert (bags.sums(rows) * given).sum() == pytest.approx((rows * bags.gradients(given)).sum(), rel=1e-4, abs=1e-4)


def test_a_text_without_tokens_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a token"):
        Bags([[1], []])


def test_fitting_turns_sums_towards_the_teacher() -> None:
    bags = Bags([list(CHANCE.integers(40, size=6)) for _ in range(60)])
    hidden = CHANCE.standard_normal((len(bags.used), 8)).astype(np.float32)
    teacher = bags.sums(hidden)
    teacher /= np.linalg.norm(teacher, axis=1, keepdims=True)
    start = CHANCE.standard_normal(hidden.shape).astype(np.float32)

    def cosine(rows: np.ndarray) -> float:
        sums = bags.sums(rows)
        return float(((sums / np.linalg.norm(sums, axis=1, keepdims=True)) * teacher).sum(1).mean())

    found = fitted(start, bags, teacher, Schedule(epochs=100, rate=0.05, floor=0.01))
    assert cosine(start) < 0.5
    assert cosine(found) > 0.95


def test_axes_keep_what_differs_most() -> None:
    vectors = (CHANCE.standard_normal((100, 4)) * [1, 9, 3, 0.1]).astype(np.float32)
    assert np.abs(principal_axes(vectors, 2)).argmax(0).tolist() == [1, 2]


def test_frequent_tokens_count_less() -> None:
    found = weights(Bags([[FIRST_WORD + 900] * 9, [FIRST_WORD]]), FIRST_WORD + 1000)
    assert found[FIRST_WORD] < found[FIRST_WORD + 500]
    assert found[FIRST_WORD + 900] < found[FIRST_WORD + 901]
    assert found.min() > 0
    assert found.max() < 1
    assert found[FIRST_WORD + 900] == pytest.approx(SMOOTHING / (SMOOTHING + 0.45), rel=1e-2)


def test_unknown_words_differ_from_each_other_and_are_all_unknown() -> None:
    rows = CHANCE.standard_normal((50, 16)).astype(np.float32)
    unknown = rows[3]
    found = unknown_rows(rows, unknown)
    away = np.linalg.norm(found - unknown, axis=1).mean()
    assert away == pytest.approx(APART * np.linalg.norm(rows, axis=1).mean(), rel=1e-3)
    assert len(np.unique(found, axis=0)) == len(found)


def test_definitions_come_with_their_words(tmp_path: Path) -> None:
    entry = "00001930 03 n 02 physical_entity 0 thing(a) 1 001 @ 00001740 n 0000 | an entity that exists  \n"
    for kind in ("noun", "verb", "adj", "adv"):
        (tmp_path / f"data.{kind}").write_text("  1 a notice\n" + (entry if kind == "noun" else ""))
    assert definitions(tmp_path, 5) == ["physical entity, thing: an entity that exists"]
