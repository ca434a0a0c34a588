from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import kernels
from tests.kernels import oracle
from tests.kernels.oracle import floats, near

pytestmark = pytest.mark.usefixtures("level")


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("d", [1, 3, 8, 17, 64])
@pytest.mark.parametrize(("n", "m"), [(1, 1), (3, 3), (1, 63), (1, 64), (2, 65), (5, 130), (70, 70)])
def test_attention(rng: np.random.Generator, n: int, m: int, d: int, causal: bool) -> None:
    q, k, v = floats(rng, 2, n, d), floats(rng, 2, m, d), floats(rng, 2, m, d)
    found = kernels.flash_attention(q, k, v, causal)
    near(found, oracle.attention(q, k, v, causal, d**-0.5), scale=np.abs(v).max())


@pytest.mark.parametrize(("heads", "kv_heads"), [(4, 1), (4, 2), (6, 3)])
def test_heads_share_keys_and_values_with_their_neighbours(rng: np.random.Generator, heads: int, kv_heads: int) -> None:
    q, k, v = floats(rng, heads, 4, 9), floats(rng, kv_heads, 7, 9), floats(rng, kv_heads, 7, 9)
    near(kernels.flash_attention(q, k, v, scale=0.3), oracle.attention(q, k, v, True, 0.3), scale=np.abs(v).max())


@given(
    n=st.integers(1, 6), more=st.integers(0, 140), d=st.integers(1, 20), causal=st.booleans(), seed=st.integers(0, 99)
)
def test_attention_of_any_length(n: int, more: int, d: int, causal: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    q, k, v = 3 * floats(rng, 2, n, d), floats(rng, 1, n + more, d), floats(rng, 1, n + more, d)
    found = kernels.flash_attention(q, k, v, causal)
    near(found, oracle.attention(q, k, v, causal, d**-0.5), scale=np.abs(v).max())


def test_a_later_key_may_be_the_highest_by_far(rng: np.random.Generator) -> None:
    """What earlier stretches added has to shrink then, down to nothing."""
    k, v = np.zeros((1, 200, 4), np.float32), floats(rng, 1, 200, 4)
    k[0, :, 0] = np.arange(200)
    q = np.array([[[50, 0, 0, 0]]], np.float32)
    near(kernels.flash_attention(q, k, v, scale=1.0), v[:, 199:].astype(np.float64))


def test_what_comes_later_is_not_seen(rng: np.random.Generator) -> None:
    q, k, v = floats(rng, 1, 8, 5), floats(rng, 1, 8, 5), floats(rng, 1, 8, 5)
    before = kernels.flash_attention(q, k, v)
    k[0, 5:], v[0, 5:] = 100, 1e9
    near(kernels.flash_attention(q, k, v)[0, :5], before[0, :5], scale=1.0)


def test_nan_in_a_query_stays_in_its_row(rng: np.random.Generator) -> None:
    q, k, v = floats(rng, 1, 3, 5), floats(rng, 1, 90, 5), floats(rng, 1, 90, 5)
    q[0, 1, 2] = np.nan
    found = kernels.flash_attention(q, k, v)
    assert np.isnan(found[0, 1]).all()
    assert not np.isnan(found[0, [0, 2]]).any()
