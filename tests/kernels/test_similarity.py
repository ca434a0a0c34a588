from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import kernels
from tests.kernels import oracle
from tests.kernels.library import EMULATED
from tests.kernels.oracle import SIZES, bytes_of, floats, near

pytestmark = pytest.mark.usefixtures("level")


@pytest.mark.parametrize("make", [bytes_of, floats])
@pytest.mark.parametrize("d", SIZES)
def test_the_best_rows_come_in_order(rng: np.random.Generator, make: type, d: int) -> None:
    rows, query = make(rng, 40, d), make(rng, d)
    expected = oracle.cosines(rows, query)
    indices, scores = kernels.similarity_topk(rows, query, 40)
    assert sorted(indices) == list(range(40))
    near(scores, expected[indices], scale=1.0)
    assert (np.diff(scores) <= 0).all()


@pytest.mark.parametrize("k", [1, 2, 3, 10, 63, 64, 100])
def test_only_the_best_are_returned(rng: np.random.Generator, k: int) -> None:
    rows, query = bytes_of(rng, 64, 48), bytes_of(rng, 48)
    indices, scores = kernels.similarity_topk(rows, query, k)
    assert len(indices) == len(scores) == min(k, 64)
    expected = np.sort(oracle.cosines(rows, query))[::-1][:k]
    near(scores, expected, scale=1.0)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.integers(1, 60))
def test_of_equal_rows_the_first_is_better(angles: list[int], k: int) -> None:
    rows = np.array([[(3, 4), (4, 3), (5, 0), (0, -5)][angle] for angle in angles], np.int8)
    indices, _ = kernels.similarity_topk(rows, np.array([5, 1], np.int8), k)
    nearest_first = [2, 1, 0, 3]
    assert indices.tolist() == sorted(range(len(rows)), key=lambda at: (nearest_first.index(angles[at]), at))[:k]


def test_known_lengths_change_nothing(rng: np.random.Generator) -> None:
    for rows in (bytes_of(rng, 30, 65), floats(rng, 30, 65)):
        norms = np.linalg.norm(rows.astype(np.float64), axis=1).astype(np.float32)
        found, known = (kernels.similarity_topk(rows, rows[7], 5, given) for given in (None, norms))
        assert found[0][0] == 7
        np.testing.assert_array_equal(found[0], known[0])
        near(known[1], found[1])


@pytest.mark.skipif(EMULATED, reason="it takes long there")
def test_a_table_of_more_than_two_gigabytes(level: str) -> None:
    """Most of it is never written, so the system has no memory to find for it."""
    if level == "numpy":
        pytest.skip("NumPy itself counts with 64 bits")
    rows = np.zeros((2**31 // 4096 + 9, 4096), np.int8)
    rows[-2] = 3
    assert kernels.similarity_topk(rows, rows[-2], 1)[0].tolist() == [len(rows) - 2]
    assert kernels.gather_accumulate(rows, np.array([len(rows) - 2]))[4095] == 3


def test_the_largest_int8_vectors() -> None:
    rows = np.full((3, 131_071), -128, np.int8)
    rows[1] = 127
    indices, scores = kernels.similarity_topk(rows, rows[0], 3)
    assert indices.tolist() == [0, 2, 1]
    near(scores, np.array([1.0, 1.0, -1.0]))


@pytest.mark.parametrize("dtype", [np.int8, np.float32])
def test_zero_vectors_are_like_nothing(dtype: type) -> None:
    rows: oracle.Array = np.array([[0, 0], [1, 0], [-1, 0]], dtype)
    indices, scores = kernels.similarity_topk(rows, rows[1], 3)
    assert (indices.tolist(), scores.tolist()) == ([1, 0, 2], [1, 0, -1])
    assert kernels.similarity_topk(rows, rows[0], 3)[1].tolist() == [0, 0, 0]


def test_what_is_not_a_number_comes_last(rng: np.random.Generator) -> None:
    rows = floats(rng, 6, 9)
    rows[2, 3], rows[4, 0] = np.nan, np.inf
    indices, scores = kernels.similarity_topk(rows, floats(rng, 9), 6)
    assert indices.tolist()[4:] == [2, 4]
    assert np.isneginf(scores[4:]).all()
    assert np.isfinite(scores[:4]).all()


def test_candidates_are_scored_again_by_what_they_were_made_from(rng: np.random.Generator) -> None:
    exact, query = floats(rng, 200, 24), floats(rng, 24)
    coarse, coarse_query = ((127 * x / np.abs(x).max()).astype(np.int8) // 16 for x in (exact, query))
    indices, scores = kernels.similarity_topk(coarse, coarse_query, 3, rescore=(exact, query))
    cosines = oracle.cosines(exact, query)
    near(scores, cosines[indices], scale=1.0)
    candidates = kernels.similarity_topk(coarse, coarse_query, 12)[0]
    assert indices.tolist() == sorted(candidates.tolist(), key=lambda at: -cosines[at])[:3]


def test_results_go_where_they_are_wanted(rng: np.random.Generator) -> None:
    rows, out = bytes_of(rng, 9, 8), (np.empty(4, np.int64), np.empty(4, np.float32))
    indices, scores = kernels.similarity_topk(rows, rows[2], 4, out=out)
    assert indices is out[0] and scores is out[1]
    assert indices[0] == 2
    exact = rows.astype(np.float32)
    again = kernels.similarity_topk(rows, rows[3], 4, rescore=(exact, exact[3]), out=out)
    assert again[0] is out[0] and out[0][0] == 3
