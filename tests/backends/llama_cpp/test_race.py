"""Draws follow their weights, and hardly change with them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from backends.llama_cpp.logits import Ids
from backends.llama_cpp.race import draw
from backends.llama_cpp.truncation import Weights

KEYS: list[int] = np.random.default_rng(0).integers(0, 2**64, 4000, dtype=np.uint64).tolist()


def random_weights(size: int, spread: float = 2.0, seed: int = 0) -> Weights:
    return np.asarray(np.exp(np.random.default_rng(seed).standard_normal(size) * spread), np.float32)


def frequencies(weights: Weights, ids: Ids | None, size: int) -> NDArray[np.float64]:
    return np.bincount([draw(weights, key, ids) for key in KEYS], minlength=size) / len(KEYS)


@pytest.mark.parametrize("size", [1, 5, 255, 256, 257, 700])
def test_of_all_every_token_comes_as_often_as_it_weighs(size: int) -> None:
    weights = random_weights(size)
    deviation = frequencies(weights, None, size) - weights / weights.sum()
    assert np.abs(deviation).max() < 0.04
    assert abs(deviation.cumsum()).max() < 0.04


@pytest.mark.parametrize("count", [1, 2, 40, 5000])
def test_of_some_every_token_comes_as_often_as_it_weighs(count: int) -> None:
    ids = np.random.default_rng(1).permutation(20_000)[:count]
    weights = random_weights(count)
    expected = np.zeros(20_000)
    expected[ids] = weights / weights.sum()
    found = frequencies(weights, ids, 20_000)
    assert not found[expected == 0].any()
    assert np.abs(found - expected).max() < 0.04
    assert abs((found - expected).cumsum()).max() < 0.04


@pytest.mark.parametrize("ids", [None, np.arange(5000), np.array([4999, 7, 300])])
def test_what_weighs_nothing_never_comes(ids: Ids | None) -> None:
    weights = np.zeros(5000, np.float32)
    weights[[300, 4999]] = 1.0, 1e-30
    assert {draw(weights if ids is None else weights[ids], key, ids) for key in KEYS[:500]} == {300}


@pytest.mark.parametrize("some", [True, False])
def test_a_key_draws_the_same_token_from_weights_that_differ_a_little(some: bool) -> None:
    weights = random_weights(3000, spread=0.5)
    noise = random_weights(3000, spread=1e-3, seed=1)
    ids = np.arange(3000) if some else None
    changed = sum(draw(weights, key, ids) != draw(weights * noise, key, ids) for key in KEYS)
    assert changed < 0.005 * len(KEYS)


def test_who_else_takes_part_changes_nothing_unless_it_wins() -> None:
    weights, ids = random_weights(50), np.arange(100, 150)
    for key in KEYS[:300]:
        winner = draw(weights, key, ids)
        others = np.flatnonzero(ids != winner)[::2]
        assert draw(np.delete(weights, others), key, np.delete(ids, others)) == winner
