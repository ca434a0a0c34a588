from __future__ import annotations

import numpy as np
import pytest

from app.routing.features import ROWS, rows_of
from app.routing.fitting import Design, Examples, Penalty, feature_weights, fit_head, minimised


def test_examples_are_counted() -> None:
    found = Examples.of([np.array([5, 3, 5]), np.array([], np.int64), np.array([3])])
    assert len(found) == 3
    assert found.rows.tolist() == [3, 5, 3]
    assert found.counts.tolist() == [1, 2, 1]
    assert found.lengths().tolist() == [2, 0, 1]
    assert found.sums(found.counts).tolist() == [3, 0, 1]
    assert found.document_frequency()[[3, 4, 5]].tolist() == [2, 0, 1]


def test_what_is_everywhere_weighs_little() -> None:
    weights = feature_weights(np.array([0, 1, 10, 100]), 100)
    assert weights[0] == weights[1] == 1
    assert 1 > weights[2] > weights[3] == 0.25


def test_forward_and_backward_are_transposes() -> None:
    examples = Examples.of([rows_of(text) for text in ("sort a list", "", "a list of lists")])
    weights = feature_weights(examples.document_frequency(), 3)
    design = Design(examples, weights, np.flatnonzero(examples.document_frequency()))
    rng = np.random.default_rng(1)
    head = rng.normal(size=(design.width, 2)).astype(np.float32)
    errors = rng.normal(size=(3, 2)).astype(np.float32)
    assert (design.forward(head) * errors).sum() == pytest.approx((head * design.backward(errors)).sum(), rel=1e-4)
    assert not design.forward(head)[1].any()


def test_a_quadratic_is_minimised() -> None:
    scales, goal = np.array([1, 10, 100], np.float32), np.array([3, -2, 1], np.float32)
    found = minimised(
        lambda x: (float((scales * (x - goal) ** 2).sum()) / 2, scales * (x - goal)), np.zeros(3, np.float32), 60
    )
    assert found == pytest.approx(goal, abs=1e-2)


def test_word_vectors_carry_what_was_learnt_to_words_never_seen() -> None:
    vectors = np.zeros((ROWS, 2), np.float32)
    for word, vector in {"dog": (1, 0), "cat": (1, 0), "wolf": (1, 0), "lathe": (0, 1), "drill": (0, 1)}.items():
        vectors[rows_of(word)[0]] = vector
    texts = ["dog", "cat", "lathe"]
    examples = Examples.of([rows_of(text) for text in texts])
    weights = feature_weights(examples.document_frequency(), 3)
    kept = np.flatnonzero(examples.document_frequency())
    design = Design(examples, weights, kept, vectors)
    head = fit_head(design, np.array([0, 0, 1]), 2, np.ones(3, np.float32), Penalty(1e-2, 1e-2))
    assert head.dense is not None
    known = {word: (vectors[rows_of(word)[0]] @ head.dense).argmax() for word in ("wolf", "drill")}
    assert known == {"wolf": 0, "drill": 1}
