from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kernels.reference import features as slow
from kernels.reference.ascii_features import ascii_features, takes

PIECES = st.lists(st.text(st.characters(max_codepoint=127), max_size=40), min_size=1, max_size=5)
WORDS = st.lists(st.sampled_from(["a", "an", "the ", "Python", "_x9", " ", "\n", "-", "longerword "]), min_size=1)


def fresh() -> slow.State:
    return np.zeros(slow.STATE_WORDS, np.uint32)


@given(PIECES | WORDS)
def test_piece_by_piece_they_are_those_of_the_slow_peer_in_its_order(pieces: list[str]) -> None:
    mine, theirs = fresh(), fresh()
    for number, piece in enumerate(pieces, 1):
        last = number == len(pieces)
        found = ascii_features(mine, piece.encode(), last, 2**18)
        assert found is not None
        assert found.tolist() == slow.text_features(theirs, piece.encode(), last, 2**18)
        assert mine[slow.LENGTH :].tolist() == theirs[slow.LENGTH :].tolist()


def test_a_word_that_is_too_long_is_left_to_the_slow_peer_with_the_state_as_it_was() -> None:
    state = fresh()
    ascii_features(state, b"two words unfin", False, 2**18)
    before = state.copy()
    assert ascii_features(state, b"x" * 60, False, 2**18) is None
    assert state.tolist() == before.tolist()


def test_what_is_not_ascii_is_left_to_the_slow_peer_even_when_it_came_before() -> None:
    state = fresh()
    assert takes(state, b"plain")
    assert not takes(state, "é".encode())
    slow.text_features(state, "é".encode(), False, 2**18)
    assert not takes(state, b"plain")
    slow.text_features(state, b" \xc3", False, 2**18)
    assert not takes(state, b"plain")
