from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from app.routing.fitting import Floats
from app.routing.recipe import Labelled
from benchmarks.router_teacher import TRUST, even, logits, regressed, taught


def vectors_of(texts: Sequence[str]) -> Floats:
    return np.array([[text.count("a"), text.count("b")] for text in texts], np.float32)


TEXTS = [*[Labelled("aaa", 0, "x")] * 3, Labelled("bbb", 1, "x"), Labelled("aaa", 1, "x"), Labelled("ab", 1, "words")]


def test_labels_weigh_the_same_in_all() -> None:
    assert even(np.array([0, 0, 0, 1])).tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 1])


def test_a_regression_separates_what_can_be_separated() -> None:
    vectors, labels = vectors_of(["aa", "ab", "bb"]), np.array([0, 0, 1])
    found = logits(regressed(vectors, labels, even(labels), 2), vectors)
    assert found.argmax(1).tolist() == labels.tolist()


def test_shares_are_the_label_and_the_teacher_s_opinion() -> None:
    found = taught(TEXTS, 2, vectors_of, frozenset({"words"}))
    assert [item.text for item in found] == [item.text for item in TEXTS]
    assert all(sum(item.shares) == pytest.approx(1) for item in found[:-1])
    assert found[0].shares == found[1].shares
    assert found[0].shares[0] > 1 - TRUST
    # The teacher has no say in the label itself, and thinks of equal texts the same.
    assert found[0].shares[0] - (1 - TRUST) == pytest.approx(found[4].shares[0], abs=1e-6)


def test_word_lists_are_not_shown_to_the_teacher() -> None:
    asked: list[str] = []

    def embed(texts: Sequence[str]) -> Floats:
        asked.extend(texts)
        return vectors_of(texts)

    assert taught(TEXTS, 2, embed, frozenset({"words"}))[-1].shares == ()
    assert "ab" not in asked


def test_cuts_come_last_and_the_teacher_only_judges_them() -> None:
    cuts = [Labelled("aaa", 1, "cut")] * 50
    found = taught(TEXTS, 2, vectors_of, frozenset({"words"}), cuts)
    assert [item.text for item in found] == [item.text for item in (*TEXTS, *cuts)]
    assert found[: len(TEXTS)] == taught(TEXTS, 2, vectors_of, frozenset({"words"}))
    assert found[-1].shares == pytest.approx(found[4].shares, abs=1e-6)
