from __future__ import annotations

import pytest

from app.routing.decisions import Thresholds
from app.routing.evaluation import (
    accuracy,
    answered,
    early,
    error_by_length,
    judge,
    known,
    macro_recall,
    naive_early,
    report,
    stranger_auroc,
)
from tests.app.routing.small import ROUTES, TEXTS, router

LABELLED = [(text, ROUTES[label]) for text, label in TEXTS]
LONG = [("write a python function that sorts a list and fix the failing test in the loop " * 8, "coding")]


def test_the_examples_are_all_right() -> None:
    judged = judge(router(), LABELLED)
    assert accuracy(judged) == macro_recall(judged) == 1
    assert answered(judged) == (1, 1)


def test_macro_recall_counts_labels_alike() -> None:
    judged = judge(router(), [*LABELLED[:3], (LABELLED[0][0], "math")])
    assert accuracy(judged) == 0.75
    assert macro_recall(judged) == 0.5


def test_what_abstains_is_not_covered() -> None:
    strict = router(Thresholds({"math": (2.0,) * 50}))
    precision, coverage = answered(judge(strict, LABELLED))
    assert precision == 1
    assert coverage == pytest.approx(8 / 12)


def test_strangers_are_no_misses_and_can_be_told_apart() -> None:
    judged = judge(router(), [*LABELLED, ("zxqv wvut qqqq", "oos")])
    assert len(known(judged)) == len(LABELLED)
    assert stranger_auroc(judged) is not None
    assert stranger_auroc(known(judged)) is None


def test_early_decisions_count_on_long_prompts_only() -> None:
    eager = router(Thresholds(early=0.3))
    found = early(judge(eager, LONG + LABELLED))
    assert (found.prompts, found.decided, found.agreement, found.wasted) == (1, 1, 1, 0)
    assert early(judge(router(), LONG)).decided == 0
    assert naive_early(judge(router(), LONG)).decided == 1


def test_a_decision_that_the_rest_overturns_is_in_vain() -> None:
    eager = router(Thresholds(early=0.3))
    turning = LONG[0][0] + "prove that the sum of two even numbers is even, solve the equation x^2 = 4 " * 60
    found = early(judge(eager, [(turning, "math")]))
    assert (found.decided, found.agreement, found.wasted) == (1, 0, 1)


def test_errors_are_given_for_beginnings_and_whole_texts() -> None:
    rows = list(error_by_length(judge(router(), LONG)))
    assert rows[-1][:2] == ("whole text", 1)
    assert sum(count for _, count, _ in rows[:-1]) == len(judge(router(), LONG)[0].steps) - 1


def test_the_report_names_what_was_missed() -> None:
    text = "\n".join(report(router(), [*LABELLED, (LABELLED[0][0], "coding")]))
    assert "13 texts of routes, 0 of none" in text
    assert "1 missed:\n  coding as general" in text
