"""Truncations keep what a slow computation over the whole row keeps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from backends.llama_cpp.truncation import Weights, lowest_by_min_p, top_k, top_p, typical_p
from tests.backends.llama_cpp import slow_sampling as slow

CLOSE = 1e-5
"""Shares that are as close to a limit as this may fall on either side in single precision."""
SHARES = st.floats(0.001, 0.999)
ROWS = st.lists(st.integers(-40, 40), min_size=1, max_size=40)
"""Logits in quarters: many equals, and unequal ones stay so in single precision."""


def unnormalised(logits: Weights) -> Weights:
    return np.asarray(np.exp(logits - logits.max()))


def weights_of(quarters: list[int]) -> Weights:
    return unnormalised(np.array([number / 4 for number in quarters], np.float32))


def many(size: int, spread: float, seed: int = 0) -> Weights:
    """Weights of a row of logits with that standard deviation, far more than are looked at first."""
    return unnormalised((np.random.default_rng(seed).standard_normal(size) * spread).astype(np.float32))


def shares(weights: Weights) -> slow.Floats:
    wide = weights.astype(np.float64)
    return np.asarray(wide / wide.sum())


@given(ROWS, SHARES)
def test_top_p_keeps_the_most_probable_of_equals_the_lower(quarters: list[int], share: float) -> None:
    weights = weights_of(quarters)
    p = shares(weights)
    kept, margin = slow.leading(p, slow.by_falling(p), share)
    assume(margin > CLOSE)
    assert sorted(top_p(weights, share)) == sorted(kept)


@given(ROWS, SHARES)
def test_typical_p_keeps_those_with_information_near_the_entropy(quarters: list[int], share: float) -> None:
    weights = weights_of(quarters)
    kept, margin = slow.typical_p(shares(weights), share)
    assume(margin > CLOSE)
    assert sorted(typical_p(weights, share)) == sorted(kept)


@pytest.mark.parametrize("spread", [0.0, 1e-3, 1.0, 4.0, 30.0])
@pytest.mark.parametrize("share", [0.01, 0.5, 0.951, 0.9999])
@pytest.mark.parametrize("size", [300, 5000, 50_001])
def test_top_p_of_a_large_vocabulary_is_as_small_as_can_be(size: int, share: float, spread: float) -> None:
    weights = many(size, spread)
    p, kept = shares(weights), top_p(weights, share)
    dropped = np.setdiff1d(np.arange(size), kept)
    assert np.unique(kept).size == kept.size
    assert p[kept].sum() >= share - 1e-6
    assert p[kept].sum() - p[kept].min() < share + 1e-6
    assert not dropped.size or p[kept].min() >= p[dropped].max()


@pytest.mark.parametrize("spread", [0.0, 1.0, 4.0])
@pytest.mark.parametrize("share", [0.01, 0.5, 0.951])
def test_typical_p_of_a_large_vocabulary_is_as_small_as_can_be(share: float, spread: float) -> None:
    weights = many(50_001, spread)
    p, kept = shares(weights), typical_p(weights, share)
    distance = np.abs(np.log(p) - (p * np.log(p)).sum())
    dropped = np.setdiff1d(np.arange(p.size), kept)
    assert p[kept].sum() >= share - 1e-6
    assert p[kept].sum() - p[kept].max() < share
    assert distance[kept].max() <= distance[dropped].min() + 1e-5


def test_equals_are_taken_from_the_lowest_on_also_where_there_are_many() -> None:
    weights = np.ones(40_000, np.float32)
    weights[:1000] = 0.5
    assert sorted(top_p(weights, 0.25))[-1] == 1000 + 0.25 * 39_500 - 1


@given(ROWS, st.integers(1, 50))
def test_top_k_keeps_exactly_k_where_there_are_as_many(quarters: list[int], k: int) -> None:
    logits = np.array(quarters, np.float32)
    assert top_k(logits, k).tolist() == slow.by_falling(logits.astype(np.float64))[:k]


@pytest.mark.parametrize("share", [0.0, 1e-9])
@pytest.mark.parametrize("size", [1, 3, 3000])
def test_one_token_stays_however_little_is_asked_for(share: float, size: int) -> None:
    weights = many(size, 3.0)
    assert top_p(weights, share).tolist() == [int(weights.argmax())]
    assert typical_p(weights, share).size == 1


def test_what_weighs_nothing_is_never_typical_before_the_rest() -> None:
    weights = np.zeros(3000, np.float32)
    weights[[5, 2000]] = 1.0
    assert sorted(typical_p(weights, 0.9)) == sorted(top_p(weights, 0.9)) == [5, 2000]


@settings(max_examples=300)
@given(st.floats(-50, 50, width=32), st.floats(1e-4, 100), st.floats(1e-12, 1))
def test_the_most_probable_token_passes_min_p(highest: float, temperature: float, min_p: float) -> None:
    assert np.float32(lowest_by_min_p(highest, temperature, min_p)) <= np.float32(highest)
    assert lowest_by_min_p(highest, temperature, 1.0) == highest
