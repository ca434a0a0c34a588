from __future__ import annotations

import numpy as np
import pytest

from app.routing.regression import logistic


def test_it_finds_what_made_the_targets() -> None:
    features = np.random.default_rng(0).normal(3, 2, (4000, 2))
    chance = 1 / (1 + np.exp(-(0.5 + features @ [1.0, -0.8])))
    assert logistic(features, chance, np.ones(4000)) == pytest.approx([0.5, 1.0, -0.8], abs=0.1)


def test_importance_counts_like_repetition() -> None:
    features, target = np.array([[0.0], [1.0], [0.0], [1.0]]), np.array([0.0, 1.0, 1.0, 0.0])
    twice = logistic(features, target, np.array([2.0, 2.0, 1.0, 1.0]))
    assert twice[1] > 1
    assert logistic(features, target, np.ones(4))[1] == pytest.approx(0, abs=1e-6)


def test_a_feature_that_never_changes_does_no_harm() -> None:
    found = logistic(np.array([[5.0], [5.0]]), np.array([1.0, 0.0]), np.array([3.0, 1.0]))
    assert 1 / (1 + np.exp(-(found[0] + 5 * found[1]))) == pytest.approx(0.75, abs=1e-3)
