from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import kernels
from tests.kernels.oracle import SIZES, bytes_of, floats, near

pytestmark = pytest.mark.usefixtures("level")


@pytest.mark.parametrize("width", [*SIZES, 127, 128, 129, 384])
def test_sums_of_int8_rows_are_exact(rng: np.random.Generator, width: int) -> None:
    table, ids = bytes_of(rng, 50, width), rng.integers(0, 50, 70)
    found = kernels.gather_accumulate(table, ids)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, table[ids].sum(axis=0, dtype=np.int64))


@pytest.mark.parametrize("count", [1, 255, 256, 257, 1000])
@pytest.mark.parametrize("value", [-128, 127])
def test_many_extreme_rows_do_not_overflow(count: int, value: int) -> None:
    table = np.full((2, 149), value, np.int8)
    found = kernels.gather_accumulate(table, np.ones(count, np.int64))
    np.testing.assert_array_equal(found, np.full(149, value * count))


@pytest.mark.parametrize("width", SIZES)
def test_sums_of_float_rows(rng: np.random.Generator, width: int) -> None:
    table, ids, weights = floats(rng, 20, width), rng.integers(0, 20, 30), floats(rng, 30)
    wide = table.astype(np.float64)[ids]
    near(kernels.gather_accumulate(table, ids), wide.sum(axis=0), scale=np.abs(wide).sum(axis=0))
    weighted = wide * weights[:, None]
    near(kernels.gather_accumulate(table, ids, weights), weighted.sum(axis=0), scale=np.abs(weighted).sum(axis=0))


@pytest.mark.parametrize("width", [1, 8, 17, 64])
def test_weights_of_int8_rows(rng: np.random.Generator, width: int) -> None:
    table, ids = bytes_of(rng, 20, width), rng.integers(0, 20, 33)
    whole, real = rng.integers(-999, 999, 33).astype(np.int32), floats(rng, 33)
    found = kernels.gather_accumulate(table, ids, whole)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, whole.astype(np.int64) @ table[ids].astype(np.int64))
    weighted = table[ids] * real[:, None].astype(np.float64)
    near(kernels.gather_accumulate(table, ids, real), weighted.sum(axis=0), scale=np.abs(weighted).sum(axis=0))


@pytest.mark.parametrize("dtype", [np.int32, np.uint32, np.int16, np.uint8])
def test_ids_may_be_any_integers(rng: np.random.Generator, dtype: type) -> None:
    table, ids = bytes_of(rng, 9, 5), np.array([8, 0, 8])
    expected = kernels.gather_accumulate(table, ids)
    np.testing.assert_array_equal(kernels.gather_accumulate(table, ids.astype(dtype)), expected)


@given(st.lists(st.integers(0, 6), min_size=2, max_size=40), st.integers(0, 40))
def test_a_text_may_be_summed_in_pieces(ids: list[int], cut: int) -> None:
    table = bytes_of(np.random.default_rng(1), 7, 20)
    bound = kernels.bind(table, np.empty(20, np.int32))
    whole = np.array(ids, np.int64)
    parts = [bound(part).copy() for part in (whole[:cut], whole[cut:])]
    np.testing.assert_array_equal(parts[0] + parts[1], kernels.gather_accumulate(table, whole))


@pytest.mark.parametrize("ids", [[-1], [0, 5], [4, -(2**63)], [2**62]])
def test_ids_outside_of_the_table_are_refused(ids: list[int]) -> None:
    for table in (np.ones((5, 16), np.int8), np.ones((5, 16), np.float32)):
        out = np.full(16, 7, np.int32 if table.dtype == np.int8 else np.float32)
        for call in (kernels.bind(table, out), lambda ids, table=table: kernels.gather_accumulate(table, ids)):
            with pytest.raises(IndexError, match="ids has -?[0-9]+, and the table has rows 0 to 4"):
                call(np.array(ids))
        assert (out == 7).all()


def test_a_bound_call_writes_to_its_output(rng: np.random.Generator) -> None:
    for table, out in (
        (bytes_of(rng, 30, 33), np.empty(33, np.int32)),
        (floats(rng, 30, 33), np.empty(33, np.float32)),
    ):
        bound, ids = kernels.bind(table, out), rng.integers(0, 30, 12)
        assert bound(ids) is out
        np.testing.assert_array_equal(out, kernels.gather_accumulate(table, ids))
        assert not bound(ids[:0]).any()


@pytest.mark.parametrize("ids", [[1], np.ones(2, np.int32), np.ones((1, 1), np.int64), np.ones(4, np.int64)[::2]])
def test_a_bound_call_refuses_other_arrays(ids: object) -> None:
    bound = kernels.bind(np.ones((5, 16), np.int8), np.empty(16, np.int32))
    with pytest.raises(ValueError, match="^ids "):
        bound(ids)  # type: ignore[arg-type]


def test_read_only_tables_and_ids_are_fine(rng: np.random.Generator) -> None:
    table, ids = bytes_of(rng, 9, 40), np.array([1, 2])
    table.flags.writeable = ids.flags.writeable = False
    np.testing.assert_array_equal(kernels.gather_accumulate(table, ids), table[1].astype(int) + table[2])
