"""Drafts are what the text said before; how long they are follows how often they were right."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.llama_cpp.ngram import NgramDrafter

LONGEST, SHORTEST = 4, 2
texts = st.lists(st.integers(0, 2), max_size=60)
novel = range(100, 200)


def obvious(text: list[int], most: int) -> list[int]:
    """The continuation by looking at every earlier place, best first."""
    for length in range(LONGEST, SHORTEST - 1, -1):
        for at in range(len(text) - 1, length - 1, -1):
            if text[at - length : at] == text[-length:]:
                return text[at : at + most]
    return []


def bold(text: list[int]) -> NgramDrafter:
    """A drafter that has been right often enough to make its longest drafts."""
    drafter = NgramDrafter(text, longest_match=LONGEST, shortest_match=SHORTEST)
    for _ in range(5):
        drafter.observe(1, 1)
    return drafter


@given(texts, st.integers(-1, 20))
def test_a_draft_is_what_followed_the_best_match(text: list[int], most: int) -> None:
    assert bold(text).draft(most) == obvious(text, min(most, 16) if most > 0 else 0)


@given(st.lists(texts, max_size=8))
def test_it_does_not_matter_in_which_pieces_the_text_came(pieces: list[list[int]]) -> None:
    drafter = bold([])
    text: list[int] = []
    for piece in pieces:
        drafter.extend(piece)
        text += piece
        assert drafter.draft(16) == obvious(text, 16)


@given(texts, st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20), texts), max_size=10))
def test_whatever_is_observed_a_draft_is_a_beginning_of_the_longest_one(
    text: list[int], steps: list[tuple[int, int, list[int]]]
) -> None:
    drafter = NgramDrafter(text)
    for most, accepted, tokens in steps:
        draft = drafter.draft(most)
        assert draft == obvious(text, min(most, drafter.length))
        drafter.observe(len(draft), min(accepted, len(draft)))
        drafter.extend(tokens)
        text = text + tokens
        assert 0 <= drafter.length <= 16


def test_longer_matches_come_before_later_ones() -> None:
    text = [1, 2, 3, 4, 50, 9, 3, 4, 60, 1, 2, 3, 4]
    assert NgramDrafter(text).draft(1) == [50]
    assert NgramDrafter(text, longest_match=2).draft(1) == [60]


def test_later_matches_come_before_earlier_ones() -> None:
    assert NgramDrafter([1, 2, 50, 1, 2, 60, 1, 2]).draft(1) == [60]


def test_nothing_is_drafted_where_nothing_was_said_before() -> None:
    for text in ([], [1], [1, 2], [1, 2, 3, 4], [2, 1, 3, 1]):
        assert NgramDrafter(text).draft(16) == []


def test_a_draft_ends_where_the_text_does() -> None:
    assert bold([1, 2, 3, 1, 2]).draft(16) == [3, 1, 2]


def test_drafts_that_are_right_grow_up_to_the_longest() -> None:
    text = [*range(50)] * 2
    drafter = NgramDrafter(text)
    lengths = []
    for _ in range(6):
        draft = drafter.draft(100)
        lengths.append(len(draft))
        drafter.observe(len(draft), len(draft))
    assert lengths == [2, 4, 8, 16, 16, 16]


def test_a_draft_that_is_half_right_is_followed_by_a_shorter_one() -> None:
    drafter = bold([*range(50)] * 2)
    drafter.observe(16, 3)
    assert len(drafter.draft(100)) == 3


def test_a_wrong_draft_is_the_last_until_two_guesses_in_a_row_were_right() -> None:
    drafter = bold([*range(50), *range(10)])
    drafter.observe(16, 0)
    assert drafter.draft(16) == []
    for token in (10, 99, 10, 11):
        drafter.extend([token])
        assert drafter.draft(16) == []
    # 99 broke the text off, so the match of 10, 11 says that 12 comes; so does that of 11, 12 for 13.
    drafter.extend([12])
    assert drafter.draft(16) == []
    drafter.extend([13])
    assert drafter.draft(16) == [14, 15]


def test_text_without_repetition_costs_a_single_wrong_draft() -> None:
    drafter = NgramDrafter([1, 2, 3, 1, 2])
    drafted = 0
    for token in novel:
        draft = drafter.draft(16)
        drafted += len(draft)
        drafter.observe(len(draft), 0)
        drafter.extend([token])
    assert drafted == 2


def test_steps_without_a_draft_say_nothing_about_drafts() -> None:
    drafter = NgramDrafter([1, 2])
    length = drafter.length
    drafter.observe(0, 0)
    assert drafter.length == length


def test_the_longest_draft_can_be_one_token() -> None:
    drafter = NgramDrafter([1, 2, 3, 4, 1, 2], longest_draft=1)
    assert drafter.draft(16) == [3]
    drafter.observe(1, 1)
    assert drafter.length == 1


@pytest.mark.parametrize("wrong", [{"shortest_match": 0}, {"longest_match": 1}, {"longest_draft": 0}])
def test_lengths_that_make_no_sense_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="no match of"):
        NgramDrafter([1, 2, 3], **wrong)
