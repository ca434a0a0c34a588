from __future__ import annotations

import numpy as np
import pytest

from app.routing.calibration import (
    Observations,
    auroc,
    calibration_error,
    fit_stranger_test,
    fit_temperature,
    route_thresholds,
)
from app.routing.decisions import PRECISIONS


def drawn(n: int, temperature: float) -> Observations:
    """Labels drawn from softmax(logits / temperature)."""
    rng = np.random.default_rng(7)
    logits = rng.normal(size=(n, 3)) * 3
    powers = np.exp(logits / temperature)
    cumulative = (powers / powers.sum(1, keepdims=True)).cumsum(1)
    labels = (rng.random((n, 1)) > cumulative).sum(1)
    return Observations(logits, rng.integers(1, 500, n), labels)


@pytest.mark.parametrize("temperature", [0.6, 1.5])
def test_the_temperature_that_made_the_labels_is_found(temperature: float) -> None:
    observed = drawn(4000, temperature)
    t0, t1 = fit_temperature(observed, np.ones(4000))
    assert t0 + t1 / np.sqrt(101) == pytest.approx(temperature, rel=0.1)
    probabilities = observed.probabilities((t0, t1))
    right = probabilities.argmax(1) == observed.labels
    assert calibration_error(probabilities.max(1), right) < 0.03


def test_the_stranger_test_separates_what_can_be_separated() -> None:
    rng = np.random.default_rng(3)
    inside, outside = rng.normal(0, 1, (300, 3)), rng.normal(2, 1, (200, 3))
    intercept, *weights = fit_stranger_test(inside, outside)
    assert intercept + outside.mean(0) @ weights > 0 > intercept + inside.mean(0) @ weights
    assert auroc(outside @ weights, inside @ weights) > 0.95


def test_auroc_counts_pairs() -> None:
    assert auroc(np.array([2.0, 3.0]), np.array([0.0, 1.0])) == 1
    assert auroc(np.array([0.0]), np.array([1.0])) == 0
    assert auroc(np.array([1.0, 1.0]), np.array([1.0])) == 0.5


def test_calibration_error_is_the_distance_of_confidence_and_accuracy() -> None:
    assert calibration_error(np.full(10, 0.85), np.arange(10) < 5) == pytest.approx(0.35)
    assert calibration_error(np.zeros(0), np.zeros(0, bool)) == 0


def test_thresholds_rise_with_the_precision() -> None:
    observed = drawn(3000, 1.0)
    found = route_thresholds(observed.probabilities((1.0, 0.0)), observed.labels, 3)
    for thresholds in found:
        assert list(thresholds) == sorted(thresholds)


def test_a_route_with_few_examples_asks_for_the_precision_itself() -> None:
    observed = drawn(30, 1.0)
    assert route_thresholds(observed.probabilities((1.0, 0.0)), observed.labels, 3)[0] == PRECISIONS
