"""A draft that was changed in the middle."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.routing.marks import FIRST_SPACING, MOST_MARKS, Mark, Marks
from tests.app.routing.small import TEXTS, router

WORDS = st.lists(
    st.sampled_from(["sort", "list", "é", "数据库", "\ud800", "x^2", "\n", "naïve", "mother"]), max_size=200
)


def typed(text: str, step: int = 7) -> object:
    session = router().session()
    for begin in range(0, len(text), step):
        session.feed(text[begin : begin + step])
    return session


@settings(max_examples=60, deadline=None)
@given(WORDS, WORDS, st.data())
def test_a_changed_draft_ends_as_if_it_had_been_written_so(old: list[str], new: list[str], data: st.DataObject) -> None:
    before = " ".join(old)
    kept = data.draw(st.integers(0, len(before)))
    after = before[:kept] + " ".join(new)
    session = router().session()
    for begin in range(0, len(before), 11):
        session.feed(before[begin : begin + 11])
    read = session.rewind(kept)
    assert 0 <= read <= kept
    session.feed(after[read:])
    session.flush()
    fresh = router().session()
    fresh.feed(after)
    fresh.flush()
    assert (session.sums, session.features, session.tokens) == (fresh.sums, fresh.features, fresh.tokens)
    assert session.decision.probabilities == fresh.decision.probabilities


def test_it_goes_back_no_further_than_it_must() -> None:
    session = router().session()
    for _ in range(200):
        session.feed("some words that mean little ")
    for kept in (200 * 28, 4000, 2000, 300):
        assert kept - 2 * FIRST_SPACING < session.rewind(kept) <= kept


def test_a_text_that_had_ended_goes_on() -> None:
    session = router().session()
    session.feed("solve the equation")
    session.flush()
    assert session.rewind(5) == 0
    session.feed(TEXTS[4][0])
    session.flush()
    assert session.decision.best == "coding"
    assert session.decision.stability == 1


@pytest.mark.parametrize("characters", [-1, 0])
def test_going_back_to_the_beginning_forgets_everything(characters: int) -> None:
    session = router().session()
    session.feed("some words " * 100)
    assert session.rewind(characters) == 0
    assert (session.tokens, session.features, set(session.sums)) == (0, 0, {0})


def mark(characters: int) -> Mark:
    return Mark(characters, characters // 2, 3 * characters, 2**32 + 2**31 + characters, [-characters, 7])


def test_marks_come_back_as_they_were() -> None:
    marks = Marks(2)
    for characters in (300, 700, 1200):
        marks.add(mark(characters))
    assert marks.back_to(1199) == mark(700)
    assert len(marks) == 2
    assert marks.back_to(299) is None
    assert len(marks) == 0


def test_the_more_there_are_the_further_apart_they_are() -> None:
    marks, characters = Marks(2), 0
    kept = []
    while characters < 40 * MOST_MARKS * FIRST_SPACING:
        characters += FIRST_SPACING
        if marks.due(characters):
            marks.add(mark(characters))
        kept.append(len(marks))
    assert MOST_MARKS // 2 <= kept[-1] <= max(kept) == MOST_MARKS
    found = marks.back_to(characters // 2)
    assert found is not None
    assert found == mark(found.characters)
    assert 0 <= characters // 2 - found.characters <= characters / (MOST_MARKS // 2)


def test_sums_too_large_for_a_mark_are_not_kept() -> None:
    marks = Marks(2)
    marks.add(Mark(300, 10, 2**25, 0, [2**40, 0]))
    assert len(marks) == 0
