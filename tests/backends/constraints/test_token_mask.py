"""Masks: a bit per token, applied to logits."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.constraints.token_mask import TokenMask


@given(st.integers(1, 300), st.integers(0, 70), st.integers(0, 2**32 - 1))
def test_tokens_without_a_bit_become_impossible_and_no_others_change(size: int, padding: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = TokenMask(size, size + padding)
    allowed = rng.random(size + padding) < rng.random()
    packed = np.packbits(allowed, bitorder="little")
    mask.bits[: len(packed)] = packed
    logits = rng.standard_normal(size, np.float32)
    expected = np.where(allowed[:size], logits, np.float32(-np.inf))
    mask.apply(logits)
    assert np.array_equal(logits, expected)


@pytest.mark.parametrize(("size", "words"), [(1, 1), (32, 1), (33, 2), (151_936, 4748)])
def test_native_code_gets_whole_words(size: int, words: int) -> None:
    mask = TokenMask(size, size)
    assert mask.nbytes == len(mask.bits) == 4 * words
    assert mask.address % 4 == 0


def test_every_thread_has_memory_of_its_own() -> None:
    mask = TokenMask(64, 64)
    mask.bits[:] = 255
    seen: list[int] = []
    thread = threading.Thread(target=lambda: seen.append(int(mask.bits.sum())))
    thread.start()
    thread.join()
    assert seen == [0]
