from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import kernels
from kernels.reference import features as reference

pytestmark = pytest.mark.usefixtures("level")

TEXT = "Écris-moi une fonction Python (3.11) qui trie foo_bar; 数据库を使う — Привет, ЖУК! İstanbul Ÿ ſ 😀 \u00a0x"


def ids(text: str | bytes, buckets: int = 2**18) -> list[int]:
    raw = text.encode() if isinstance(text, str) else text
    return [int(id) for id in kernels.text_features(raw, kernels.TextState(buckets), last=True)]


def slowly(raw: bytes, buckets: int = 2**18) -> list[int]:
    return reference.text_features(np.zeros(reference.STATE_WORDS, np.uint32), raw, True, buckets)


def test_these_ids_never_change() -> None:
    """Tables that were trained with them depend on it."""
    assert ids("Hi you") == [
        197271, 249595, 4341, 175318, 193071, 250029, 223101, 223195, 46443, 62818, 788, 107760,
    ]  # fmt: skip


def test_a_word_has_an_id_of_its_own_its_pair_and_its_ngrams() -> None:
    """`<ab>` has two 3-grams and one 4-gram; a second word makes a pair."""
    assert len(ids("ab")) == 1 + 3
    assert len(ids("ab cd")) == 2 * (1 + 3) + 1
    assert ids("ab cd")[:4] == ids("ab")


def test_upper_case_counts_as_lower() -> None:
    for upper in ("HELLO", "ÀÉÎ", "ŁÓDŹ", "ΑΒΓ", "ПРИВЕТ Ёж", "ŠĐ"):
        assert ids(upper) == ids(upper.lower()), upper


def test_what_stands_between_words_does_not_count() -> None:
    assert ids("one two") == ids("  one,—two!…") == ids("one\u3000“two”") == ids(b"one\xfftwo")


def test_order_counts() -> None:
    assert sorted(ids("one two")) != sorted(ids("two one"))


def test_han_characters_are_words() -> None:
    assert len(ids("数据库")) == 3 + 2
    assert ids("a数")[:2] == ids("a")


def test_a_long_word_counts_as_several() -> None:
    assert ids("x" * 64 + "y" * 10) == ids("x" * 64 + " " + "y" * 10)


def test_no_text_has_no_features() -> None:
    assert ids("") == ids(" \n,") == []


@pytest.mark.parametrize("buckets", [1, 7, 2**18, 2**31])
def test_ids_are_below_the_number_of_buckets(buckets: int) -> None:
    found = ids(TEXT, buckets)
    assert min(found) >= 0
    assert max(found) < buckets


def test_they_spread_over_the_buckets() -> None:
    different = np.unique(ids(" ".join(f"{number:x}" for number in range(3000)), 2**31))
    for counts in (np.bincount(different >> 27, minlength=16), np.bincount(different % 16, minlength=16)):
        assert counts.min() > 0.9 * counts.mean()


@given(st.text(max_size=80), st.lists(st.integers(0, 320), max_size=6))
def test_however_a_text_is_cut_the_ids_are_the_same(text: str, cuts: list[int]) -> None:
    raw = text.encode()
    state, found = kernels.TextState(), []
    places = [0, *sorted(min(cut, len(raw)) for cut in cuts), len(raw)]
    for begin, end in zip(places, places[1:], strict=False):
        found += kernels.text_features(raw[begin:end], state).tolist()
    found += kernels.text_features(b"", state, last=True).tolist()
    assert found == ids(raw)


def test_also_byte_by_byte() -> None:
    state = kernels.TextState()
    found = [id for byte in TEXT.encode() for id in kernels.text_features(bytes([byte]), state)]
    assert found + kernels.text_features(b"", state, last=True).tolist() == ids(TEXT)


@given(st.binary(max_size=200) | st.text(st.characters(max_codepoint=0x2FF), max_size=80).map(str.encode))
def test_any_bytes_have_the_ids_that_python_finds(raw: bytes) -> None:
    assert ids(raw) == slowly(raw)


def test_every_character_is_classified_as_in_python() -> None:
    some = [*range(0x600), *range(0x1FF0, 0x3450, 3), *range(0xD7F0, 0xD800), *range(0xE000, 0x10FFFF, 499)]
    raw = " ".join(f"a{chr(c)}b" for c in some).encode()
    assert ids(raw) == slowly(raw)


def test_broken_utf8_ends_a_word() -> None:
    for broken in (b"a\xc3 b", b"a\xe2\x82b", b"a\xf0\x9f\x98", b"\xed\xa0\x80a", b"\xc0\xafa", b"\xf4\x90\x80\x80a"):
        assert ids(broken) == slowly(broken)
        assert ids(broken)[: len(ids("a"))] == ids("a")


def test_a_state_can_be_copied_and_used_again() -> None:
    state = kernels.TextState()
    before = kernels.text_features(b"one tw", state).tolist()
    copy = state.copy()
    assert before + kernels.text_features(b"o", state, last=True).tolist() == ids("one two")
    assert before + kernels.text_features(b"ice", copy, last=True).tolist() == ids("one twice")
    assert kernels.text_features(b"one", state, last=True).tolist() == ids("one")
