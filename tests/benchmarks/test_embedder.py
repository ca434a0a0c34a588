"""How the benchmark of the embedding judges."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.embedder import agreement, by_a_line, by_neighbours, found_first, halves, pack_texts, remembering

CHANCE = np.random.default_rng(5)
LABELS = np.arange(90) % 3
JUDGED = np.arange(90) % 4 == 0
APART = (np.eye(8, dtype=np.float32)[LABELS] + 0.1 * CHANCE.standard_normal((90, 8))).astype(np.float32)
NOISE = CHANCE.standard_normal((90, 8)).astype(np.float32)


def test_classes_that_lie_apart_are_told_apart() -> None:
    for judge in (by_neighbours, by_a_line):
        assert judge(APART, LABELS, JUDGED) == 1.0
        assert judge(NOISE, LABELS, JUDGED) < 0.7


def test_judged_texts_do_not_judge_themselves() -> None:
    """Where only what is judged is labelled right, nobody can know it."""
    wrong = np.where(JUDGED, LABELS, (LABELS + 1) % 3)
    assert by_neighbours(APART, wrong, JUDGED) == 0.0


def test_the_split_is_fixed_and_a_third() -> None:
    known = pack_texts()
    assert 0.3 < known.judged.mean() < 0.37
    assert (pack_texts().judged == known.judged).all()


def test_counterparts_are_found_among_the_nearest() -> None:
    vectors = np.eye(4, dtype=np.float32)
    assert found_first(vectors, vectors, 1) == 1.0
    swapped = vectors + 2 * np.roll(vectors, 1, axis=1)
    assert found_first(vectors, swapped, 1) == 0.0
    assert found_first(vectors, swapped, 2) == 1.0


def test_halves_together_are_the_text() -> None:
    long = " ".join(map(str, range(17)))
    first, second = halves(["too short", long])
    assert [f"{a} {b}" for a, b in zip(first, second, strict=True)] == [long]


def test_agreement_is_one_with_itself_and_none_with_chance() -> None:
    assert agreement(APART, 3 * APART) == pytest.approx(1)
    assert abs(agreement(APART, NOISE)) < 0.3


def test_only_the_last_texts_are_remembered() -> None:
    calls: list[str] = []

    def embed(text: str) -> np.ndarray:
        calls.append(text)
        return np.zeros(1, np.float32)

    found = remembering(embed, 2)
    for text in ("a", "b", "a", "c", "a", "b"):
        found(text)
    assert calls == ["a", "b", "c", "b"]
