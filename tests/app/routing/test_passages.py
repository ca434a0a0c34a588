from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from app.routing.agreement import Agreement
from app.routing.decisions import NEVER
from app.routing.passages import Passing, Point, early_threshold, first_passage, fit_agreement, passings

ROUTES = ("general", "coding")


def threshold(given: Sequence[Sequence[Passing]]) -> float:
    return early_threshold(given, [1.0] * len(given))


def agreement_of(given: Sequence[Sequence[Point]]) -> Agreement:
    return fit_agreement(given, [1.0] * len(given), ROUTES)


def texts(agrees_from: float) -> list[list[Passing]]:
    """Texts of one point each, whose decision holds from some probability on."""
    return [[(step / 1000, step / 1000 >= agrees_from)] for step in range(200, 1000)]


def test_no_early_decision_where_nothing_agrees() -> None:
    assert threshold(texts(agrees_from=2)) == NEVER
    assert threshold([]) == NEVER


def test_the_threshold_is_where_enough_decisions_hold() -> None:
    assert threshold(texts(agrees_from=0.7)) == pytest.approx(1 - 0.3 / 0.965, abs=0.01)


def test_few_texts_decide_nothing() -> None:
    assert threshold([[(0.99, True)]] * 30) == NEVER
    assert threshold([[(0.99, True)]] * 40) == 0.5


def test_texts_that_count_less_weigh_less() -> None:
    given: list[list[Passing]] = [*[[(0.9, True)]] * 200, *[[(0.9, False)]] * 20]
    assert early_threshold(given, [1.0] * 220) == NEVER
    assert early_threshold(given, [*[1.0] * 200, *[0.1] * 20]) == 0.5
    assert early_threshold(given[:40], [1.0] * 40) == 0.5
    assert early_threshold(given[:40], [10.0] * 2 + [0.1] * 38) == NEVER  # two texts, as good as


def test_only_the_first_passage_counts() -> None:
    wrong_then_right: list[list[Passing]] = [[(0.8, False), (0.9, True)] for _ in range(100)]
    assert threshold(wrong_then_right) > 0.8
    assert first_passage(wrong_then_right[0], 0.5) == (0.8, False)


def test_what_follows_a_failure_is_not_looked_at() -> None:
    good: list[list[Passing]] = [[(0.9, True)]] * 100
    bad: list[list[Passing]] = [[(0.8, False)]] * 10
    more: list[list[Passing]] = [[(0.6, True)]] * 1000
    assert 0.8 < threshold([*good, *bad, *more]) <= 0.9


def test_agreement_is_learned_by_route_and_confidence() -> None:
    chance = random.Random(1)
    found = []
    for _ in range(2000):
        route, best = chance.randrange(2), chance.uniform(0.55, 0.99)
        holds = chance.random() < (best if route else best - 0.4)
        pair = (1 - best, best) if route else (best, 1 - best)
        found.append([Point(route, pair, 20, holds)])
    agreement = agreement_of(found)
    for best in (0.7, 0.9):
        assert agreement.probability("coding", (1 - best, best), 20) == pytest.approx(best, abs=0.06)
        assert agreement.probability("general", (best, 1 - best), 20) == pytest.approx(best - 0.4, abs=0.06)
    [[(probability, agrees)]] = passings(found[:1], agreement, ROUTES)
    assert agrees == found[0][0].agrees
    assert probability == agreement.probability(ROUTES[found[0][0].route], found[0][0].probabilities, 20)


def test_texts_count_the_same_however_many_points_they_have() -> None:
    wrong = [[Point(1, (0.2, 0.8), 20, agrees=False)] * 50]
    right = [[Point(1, (0.2, 0.8), 20, agrees=True)]] * 3
    assert agreement_of([*wrong, *right]).probability("coding", (0.2, 0.8), 20) == pytest.approx(0.75, 0.01)


def test_texts_count_by_their_importance() -> None:
    given = [[Point(1, (0.2, 0.8), 20, agrees=agrees)] for agrees in (True, False)]
    assert fit_agreement(given, [9.0, 1.0], ROUTES).probability("coding", (0.2, 0.8), 20) == pytest.approx(0.9, 0.01)


def test_without_points_agreement_is_the_confidence() -> None:
    assert agreement_of([]).probability("coding", (0.2, 0.8), 20) == pytest.approx(0.8)
