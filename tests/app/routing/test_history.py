"""What was said before counts with what is said now."""

from __future__ import annotations

import pytest

from app.routing.scoring import History
from tests.app.routing.small import TEXTS, router

CODE, MATH = TEXTS[4][0], TEXTS[8][0]


def test_a_question_that_says_little_stays_where_the_last_one_was() -> None:
    assert router().route("and this", [CODE]).best == "coding"
    assert router().route("and this", [MATH]).best == "math"


def test_the_last_text_counts_for_more_than_those_before_it() -> None:
    last, first = (router().route("and this", texts).probabilities["math"] for texts in ([CODE, MATH], [MATH, CODE]))
    assert router().route("and this", [MATH]).probabilities["math"] > last > first


def test_what_is_said_now_counts_most() -> None:
    assert router().route(CODE, [MATH]).best == "coding"


def test_a_long_text_does_not_drown_the_next() -> None:
    assert router().route(CODE, [f"{MATH} " * 200]).best == "coding"


def test_without_a_past_nothing_changes() -> None:
    assert router().route(CODE, []) == router().route(CODE)
    assert router().route(CODE, ["", " "]).probabilities == router().route(CODE).probabilities


def test_the_past_does_not_depend_on_how_the_present_arrives() -> None:
    session = router().session([MATH])
    for character in CODE:
        session.feed(character)
    session.flush()
    assert session.decision.probabilities == router().route(CODE, [MATH]).probabilities


def test_tokens_are_those_of_the_text_itself() -> None:
    assert router().route("and this", [CODE]).tokens == 2


@pytest.mark.parametrize(("mass", "factor"), [(0.0, 0.0), (10.0, 0.5), (1000.0, 0.1)])
def test_the_share_has_a_limit(mass: float, factor: float) -> None:
    assert History(share=0.5, mass=100.0).factor(mass) == factor
