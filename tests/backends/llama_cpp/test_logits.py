"""Where the highest of a row are, also where almost everything is masked."""

from __future__ import annotations

import numpy as np
import pytest

from backends.llama_cpp.logits import candidates, cleaned, highest

SIZES = (1, 2, 255, 2047, 2048, 2049, 5000, 32_000)


def expected(scores: np.ndarray, count: int) -> list[int]:
    return sorted(range(scores.size), key=lambda i: (-scores[i], i))[:count]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("count", [0, 1, 2, 20, 300, 1500])
@pytest.mark.parametrize("values", [3, 1000])
def test_the_highest_come_in_order_of_their_places_among_equals(size: int, count: int, values: int) -> None:
    rng = np.random.default_rng(size + count)
    scores = rng.integers(0, values, size).astype(np.float32)
    assert highest(scores, count).tolist() == expected(scores, count)
    assert highest(scores.astype(np.int32), count).tolist() == expected(scores, count)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("possible", [0, 1, 5, 200])
@pytest.mark.parametrize("count", [1, 20, 300])
def test_a_row_that_is_masked_almost_whole_has_its_highest_too(size: int, possible: int, count: int) -> None:
    rng = np.random.default_rng(size + possible)
    scores = np.full(size, -np.inf, np.float32)
    where = rng.choice(size, min(possible, size), replace=False)
    scores[where] = rng.standard_normal(where.size)
    assert highest(scores, count).tolist() == expected(scores, count)


def test_candidates_of_a_masked_row_are_few() -> None:
    scores = np.full(150_000, -np.inf, np.float32)
    scores[[7, 140_000]] = 1.0
    assert candidates(scores, 40).size <= 42


def test_candidates_are_few_and_leave_out_none_that_is_above_one_of_them() -> None:
    scores = np.random.default_rng(0).standard_normal(150_000).astype(np.float32)
    found = candidates(scores, 40)
    assert 40 <= found.size < 200
    assert found.tolist() == np.flatnonzero(scores >= scores[found].min()).tolist()


def test_a_number_that_is_none_is_impossible_and_beside_infinity_everything_is() -> None:
    nan, inf = np.nan, np.inf
    assert cleaned(np.array([1, nan, -inf], np.float32)).tolist() == [1, -inf, -inf]
    assert cleaned(np.array([1, nan, inf, inf], np.float32)).tolist() == [-inf, -inf, 0, 0]
    assert cleaned(np.array([nan], np.float32)).dtype == np.float32
