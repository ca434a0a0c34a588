from __future__ import annotations

import numpy as np

from app.routing.decisions import NEVER
from app.routing.passages import Point, early_thresholds, first_passage


def texts(agrees_from: float, tokens: int = 20) -> list[list[Point]]:
    """Texts of one point each, whose decision holds from some confidence on."""
    return [[(tokens, float(p), bool(p >= agrees_from))] for p in np.linspace(0.2, 1, 400)]


def test_no_early_decision_where_nothing_agrees() -> None:
    assert early_thresholds(texts(agrees_from=2)) == (NEVER,) * 6


def test_the_threshold_is_where_decisions_begin_to_hold() -> None:
    found = early_thresholds(texts(agrees_from=0.7))
    assert 0.6 < found[1] < 0.75
    assert found[:1] + found[2:] == (NEVER,) * 5


def test_few_texts_decide_nothing() -> None:
    assert early_thresholds(texts(agrees_from=0)[:19]) == (NEVER,) * 6


def test_only_the_first_passage_counts() -> None:
    wrong_then_right: list[list[Point]] = [[(16, 0.8, False), (24, 0.9, True)] for _ in range(100)]
    assert early_thresholds(wrong_then_right)[1] > 0.8
    assert first_passage(wrong_then_right[0], 0.5) == (16, 0.8, False)


def test_a_text_that_was_decided_says_nothing_of_later_stretches() -> None:
    decided: list[list[Point]] = [[(10, 0.9, True), (20, 0.9, False)] for _ in range(100)]
    late: list[list[Point]] = [[(20, 0.5, True)] for _ in range(100)]
    assert early_thresholds([*decided, *late])[1] < 0.5
