from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import kernels
from tests.kernels import oracle
from tests.kernels.oracle import SIZES, floats, near, shifted

pytestmark = pytest.mark.usefixtures("level")
NAN, INF = np.nan, np.inf


@pytest.mark.parametrize("n", SIZES)
def test_softmax(rng: np.random.Generator, n: int) -> None:
    x = 10 * floats(rng, 3, n)
    near(kernels.softmax(x), oracle.softmax(x))


def test_softmax_of_equal_numbers_is_even() -> None:
    np.testing.assert_array_equal(kernels.softmax(np.full(96, 7.5, np.float32)), np.full(96, 1 / 96, np.float32))


def test_softmax_of_huge_numbers_does_not_overflow() -> None:
    x = np.array([1e38, 1e38, -1e38, 0], np.float32)
    near(kernels.softmax(x), np.array([0.5, 0.5, 0, 0]))


def test_softmax_gives_nothing_to_what_is_impossible() -> None:
    x = np.array([-INF, 1, 2, -INF, 3], np.float32)
    found = kernels.softmax(x)
    assert found[0] == found[3] == 0
    near(found, oracle.softmax(x))


@pytest.mark.parametrize("bad", [NAN, INF])
@pytest.mark.parametrize("at", [0, 6, 16])
def test_a_row_that_is_not_finite_becomes_nan_and_others_do_not(rng: np.random.Generator, bad: float, at: int) -> None:
    x = floats(rng, 2, 17)
    x[0, at] = bad
    found = kernels.softmax(x)
    assert np.isnan(found[0]).all()
    near(found[1], oracle.softmax(x[1]))


def test_a_row_of_minus_infinity_becomes_nan() -> None:
    assert np.isnan(kernels.softmax(np.full(9, -INF, np.float32))).all()


@given(
    x=st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=70),
    offset=st.integers(0, 7),
)
def test_softmax_of_any_numbers_from_any_address(x: list[float], offset: int) -> None:
    row = shifted(np.array(x, np.float32), offset)
    near(kernels.softmax(row), oracle.softmax(row))


@pytest.mark.parametrize("d", SIZES)
def test_rmsnorm(rng: np.random.Generator, d: int) -> None:
    x, weight = floats(rng, 2, 3, d), floats(rng, d)
    near(kernels.rmsnorm(x, weight, 1e-5), oracle.rmsnorm(x, weight, 1e-5))


def test_rmsnorm_without_weights(rng: np.random.Generator) -> None:
    x = floats(rng, 5, 33)
    near(kernels.rmsnorm(x, None), oracle.rmsnorm(x, np.ones(33), 1e-6))


def test_rmsnorm_of_zeros_is_zero() -> None:
    assert not kernels.rmsnorm(np.zeros((2, 7), np.float32), np.ones(7, np.float32)).any()


@pytest.mark.parametrize("d", [1, 8, 17, 64])
def test_rmsnorm_adds_to_the_residual_first(rng: np.random.Generator, d: int) -> None:
    x, residual, weight = floats(rng, 3, d), floats(rng, 3, d), floats(rng, d)
    total = x + residual
    found = kernels.rmsnorm(x, weight, residual=residual)
    np.testing.assert_array_equal(residual, total)
    near(found, oracle.rmsnorm(total, weight, 1e-6))


@pytest.mark.parametrize("n", SIZES)
def test_swiglu(rng: np.random.Generator, n: int) -> None:
    gate, up = 5 * floats(rng, n), floats(rng, n)
    near(kernels.swiglu(gate, up), oracle.silu(gate) * up)


@pytest.mark.parametrize("n", SIZES)
def test_gelu(rng: np.random.Generator, n: int) -> None:
    x = 3 * floats(rng, n)
    near(kernels.gelu(x), oracle.gelu(x), scale=np.abs(x))


@given(st.lists(st.floats(width=32, allow_nan=False, min_value=-(2.0**60), max_value=2.0**60), min_size=1, max_size=40))
def test_activations_of_any_size_do_not_diverge(x: list[float]) -> None:
    row = np.array(x, np.float32)
    near(kernels.gelu(row), np.where(np.abs(row) > 1e3, np.maximum(row, 0), oracle.gelu(row)), scale=np.abs(row))
    near(kernels.swiglu(row, np.ones_like(row)), oracle.silu(row), scale=np.abs(row))


def test_activations_of_nan_are_nan_and_touch_no_neighbour() -> None:
    x = np.array([1, NAN, 2, 3, 4, 5, 6, 7, 8], np.float32)
    np.testing.assert_array_equal(np.isnan(kernels.gelu(x)), np.isnan(x))
    np.testing.assert_array_equal(np.isnan(kernels.swiglu(x, x)), np.isnan(x))


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("d", [2, 4, 6, 8, 10, 16, 18, 34, 64, 130])
def test_rope(rng: np.random.Generator, d: int, interleaved: bool) -> None:
    x = floats(rng, 11, 3, d)
    found = kernels.rope(x, *kernels.rope_tables(11, d, 500.0), interleaved)
    near(found, oracle.rope(x, 500.0, interleaved), scale=np.abs(x).max())


def test_rope_at_the_first_position_changes_nothing(rng: np.random.Generator) -> None:
    x = floats(rng, 1, 2, 8)
    np.testing.assert_array_equal(kernels.rope(x, *kernels.rope_tables(1, 8, 10_000.0)), x)


def test_positions_may_begin_anywhere(rng: np.random.Generator) -> None:
    x = floats(rng, 6, 2, 16)
    cos, sin = kernels.rope_tables(6, 16)
    late = kernels.rope(x[4:].copy(), cos[4:], sin[4:])
    np.testing.assert_array_equal(late, kernels.rope(x, cos, sin)[4:])


def test_results_may_replace_their_inputs(rng: np.random.Generator) -> None:
    x, weight, tables = floats(rng, 3, 4, 18), floats(rng, 18), kernels.rope_tables(3, 18)
    runs: tuple[Callable[[oracle.Array, oracle.Array | None], oracle.Array], ...] = (
        lambda x, out: kernels.softmax(x, out=out),
        lambda x, out: kernels.gelu(x, out=out),
        lambda x, out: kernels.swiglu(x, x, out=out),
        lambda x, out: kernels.rmsnorm(x, weight, out=out),
        lambda x, out: kernels.rope(x, *tables, out=out),
        lambda x, out: kernels.rope(x, *tables, True, out),
    )
    for run in runs:
        expected, place = run(x, None), x.copy()
        assert run(place, place) is place
        np.testing.assert_array_equal(place, expected)


def test_swiglu_may_replace_its_second_input(rng: np.random.Generator) -> None:
    gate, up = floats(rng, 37), floats(rng, 37)
    expected = kernels.swiglu(gate, up)
    np.testing.assert_array_equal(kernels.swiglu(gate, up, out=up), expected)
