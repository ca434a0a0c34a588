from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.routing.features import BUCKETS, PAIRS, ROWS, FeatureState, encode, rows_of

HARD = [
    "",
    "a",
    "\x00\x07",
    "\ud800",
    "def f(x):\n\treturn {x: 1}",
    "数据库を使う Привет",
    "QUJDRA==",
    "3 14 159",
    "é\u0301😀",
]


def in_pieces(text: str, cuts: list[int]) -> tuple[list[int], int]:
    state, data = FeatureState(), encode(text)
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    parts = [state.take(data[begin:end]) for begin, end in zip(edges, edges[1:], strict=False)]
    return sorted(np.concatenate([*parts, state.take(b"", last=True)]).tolist()), state.tokens


def whole(text: str) -> tuple[list[int], int]:
    state = FeatureState()
    return sorted(state.take(encode(text), last=True).tolist()), state.tokens


@pytest.mark.parametrize("text", [*HARD, "if (a<b) {x+=1;}  // done?"])
def test_every_split_in_two_gives_the_same_rows(text: str) -> None:
    """Also inside a character."""
    for cut in range(len(encode(text)) + 1):
        assert in_pieces(text, [cut]) == whole(text)


@given(st.text(st.characters(), max_size=60), st.lists(st.integers(0, 240), max_size=8))
def test_any_split_gives_the_same_rows(text: str, cuts: list[int]) -> None:
    assert in_pieces(text, cuts) == whole(text)


@pytest.mark.parametrize("text", HARD)
def test_rows_are_rows_of_the_table(text: str) -> None:
    rows = rows_of(text)
    assert rows.dtype == np.int64
    assert all(0 <= row < ROWS for row in rows)


@pytest.mark.parametrize("end", ["?", "!", ".", " ", "...", "?!  "])
def test_how_a_sentence_ends_does_not_count(end: str) -> None:
    text = "What is the capital of Peru (in 1950)"
    assert whole(text + end) == whole(text)


def test_case_does_not_count() -> None:
    assert whole("SORT A list (Fast)") == whole("sort a LIST (fast)")


def test_punctuation_counts() -> None:
    assert whole("f(x) {y}")[0] != whole("f x y")[0]
    assert any(BUCKETS <= row < BUCKETS + PAIRS for row in rows_of("f(x)"))
    assert not any(row >= BUCKETS for row in rows_of("plain words, and more."))


def test_scripts_count() -> None:
    russian, german = rows_of("Привет"), rows_of("schön")
    assert sum(row >= BUCKETS + PAIRS for row in russian) == 6
    assert sum(row >= BUCKETS + PAIRS for row in german) == 1


@pytest.mark.parametrize(
    ("text", "tokens"), [("", 0), ("  ", 0), ("one two", 2), ("f(x)", 4), ("x1 = 22", 3), ("数据库", 4), ("naïve", 1)]
)
def test_tokens_are_words_and_marks(text: str, tokens: int) -> None:
    assert whole(text)[1] == tokens


def test_a_copy_goes_on_alone() -> None:
    state = FeatureState()
    state.take(b"sort a li")
    other = state.copy()
    other.take(b"on hunts")
    assert state.take(b"st", last=True).tolist()[-1] in rows_of("sort a list").tolist()
    assert state.tokens == 3


def test_a_megabyte_of_one_letter_is_counted_in_pieces() -> None:
    assert len(rows_of("a" * 1_000_000)) < 4_000_000
