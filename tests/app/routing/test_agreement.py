from __future__ import annotations

import math

import pytest

from app.routing.agreement import Agreement, signals


def test_signals_are_odds_distance_and_length() -> None:
    assert signals((0.2, 0.5, 0.3), 9) == pytest.approx((0.0, math.log(0.5 / 0.3), math.log(10)))
    assert all(math.isfinite(value) for value in signals((1.0, 0.0), 0))


def test_the_probability_follows_the_weights() -> None:
    found = Agreement({"math": 1.0}, (0.0, 2.0, -0.5))
    z = 1 + 2 * math.log(3) - 0.5 * math.log(16)
    assert found.probability("math", (0.75, 0.25), 15) == pytest.approx(1 / (1 + math.exp(-z)))


def test_a_route_that_was_not_fitted_is_trusted_like_the_least() -> None:
    found = Agreement({"math": 1.0, "legal": -1.0})
    assert found.probability("mine", (0.6, 0.4), 9) == found.probability("legal", (0.6, 0.4), 9)
    assert Agreement().probability("mine", (0.6, 0.4), 9) == pytest.approx(0.6)


@pytest.mark.parametrize("probabilities", [(), (1.0,)])
def test_a_single_route_is_certain(probabilities: tuple[float, ...]) -> None:
    assert Agreement().probability("math", probabilities, 9) == 1
