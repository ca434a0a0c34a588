from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import kernels
from tests.kernels.oracle import bytes_of, floats, near

pytestmark = pytest.mark.usefixtures("level")

EDGES = (1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33)


@pytest.mark.parametrize("k", [1, 3, 4, 5, 8, 31, 64, 511, 512, 513, 1030])
@pytest.mark.parametrize(("m", "n"), [(1, 1), (8, 8), (7, 9), (16, 5), (9, 24)])
def test_matmul(rng: np.random.Generator, m: int, n: int, k: int) -> None:
    a, b = floats(rng, m, k), floats(rng, k, n)
    near(kernels.matmul(a, b), a.astype(np.float64) @ b, scale=np.abs(a).astype(np.float64) @ np.abs(b))


@pytest.mark.parametrize("n", EDGES)
def test_matmul_keeps_every_row_and_column(n: int) -> None:
    """A tile that drops its tail, or reads beyond it, is seen at once in products with the identity."""
    x = np.arange(n * n, dtype=np.float32).reshape(n, n) + 1
    identity = np.eye(n, dtype=np.float32)
    np.testing.assert_array_equal(kernels.matmul(x, identity), x)
    np.testing.assert_array_equal(kernels.matmul(identity, x), x)


@given(m=st.integers(1, 20), n=st.integers(1, 20), k=st.integers(1, 40), seed=st.integers(0, 9))
def test_matmul_of_any_shape(m: int, n: int, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = floats(rng, m, k), floats(rng, k, n)
    near(kernels.matmul(a, b), a.astype(np.float64) @ b, scale=np.abs(a).astype(np.float64) @ np.abs(b))


def test_nan_stays_in_its_row(rng: np.random.Generator) -> None:
    a, b = floats(rng, 10, 9), floats(rng, 9, 11)
    a[3, 4] = np.nan
    found = kernels.matmul(a, b)
    assert np.isnan(found[3]).all()
    assert not np.isnan(np.delete(found, 3, axis=0)).any()


@pytest.mark.parametrize("k", [1, 3, 4, 5, 7, 8, 9, 16, 511, 512, 513, 1100])
@pytest.mark.parametrize(("m", "n"), [(1, 1), (4, 8), (3, 9), (9, 7), (5, 17)])
def test_matmul_int8_is_exact(rng: np.random.Generator, m: int, n: int, k: int) -> None:
    a, b = bytes_of(rng, m, k), bytes_of(rng, k, n)
    found = kernels.matmul_int8(a, b)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, a.astype(np.int64) @ b.astype(np.int64))


@given(m=st.integers(1, 10), n=st.integers(1, 20), k=st.integers(1, 40), seed=st.integers(0, 9))
def test_matmul_int8_of_any_shape(m: int, n: int, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = bytes_of(rng, m, k), bytes_of(rng, k, n)
    np.testing.assert_array_equal(kernels.matmul_int8(a, b), a.astype(np.int64) @ b.astype(np.int64))


def test_the_largest_products_do_not_overflow() -> None:
    """-128 times -128 everywhere: two of them are too much for int16, and so many just fit int32."""
    k = 131_071
    found = kernels.matmul_int8(np.full((2, k), -128, np.int8), np.full((k, 3), -128, np.int8))
    np.testing.assert_array_equal(found, np.full((2, 3), 16384 * k, np.int32))


def test_scales_of_rows_and_columns(rng: np.random.Generator) -> None:
    a, b, rows, columns = bytes_of(rng, 5, 40), bytes_of(rng, 40, 6), floats(rng, 5), floats(rng, 6)
    sums = a.astype(np.float64) @ b
    near(kernels.matmul_int8(a, b, rows, columns), sums * rows[:, None] * columns)
    near(kernels.matmul_int8(a, b, rows), sums * rows[:, None])
    near(kernels.matmul_int8(a, b, b_scale=columns), sums * columns)


def test_products_go_where_they_are_wanted(rng: np.random.Generator) -> None:
    a, b, out = floats(rng, 9, 4), floats(rng, 4, 10), np.empty((9, 10), np.float32)
    assert kernels.matmul(a, b, out) is out
    whole = np.empty((9, 10), np.int32)
    assert kernels.matmul_int8(bytes_of(rng, 9, 4), bytes_of(rng, 4, 10), out=whole) is whole
