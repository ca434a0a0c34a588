from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import kernels
from tests.kernels import oracle
from tests.kernels.oracle import SIZES, floats, near

pytestmark = pytest.mark.usefixtures("level")
NAN, INF = np.nan, np.inf


@pytest.mark.parametrize("n", [*SIZES, 255, 256, 257, 5000])
def test_logsumexp_and_the_best(rng: np.random.Generator, n: int) -> None:
    logits = 5 * floats(rng, n)
    lse, indices, logprobs = kernels.logsumexp_topk(logits, 20)
    assert lse == pytest.approx(oracle.logsumexp(logits), rel=1e-6)
    assert indices.tolist() == np.argsort(-logits, kind="stable")[:20].tolist()
    near(logprobs, logits[indices].astype(np.float64) - oracle.logsumexp(logits), scale=20.0)


def test_a_long_row_loses_nothing() -> None:
    lse, _, logprobs = kernels.logsumexp_topk(np.zeros(151_936, np.float32), 1)
    assert lse == pytest.approx(np.log(151_936), rel=1e-7)
    near(logprobs, np.array([-np.log(151_936)]))


@pytest.mark.parametrize("k", [1, 2, 64, 999, 1000, 2000])
def test_any_number_of_tokens(rng: np.random.Generator, k: int) -> None:
    logits = np.round(floats(rng, 1000), 1)  # with many equal ones
    _, indices, _ = kernels.logsumexp_topk(logits, k)
    assert indices.tolist() == np.argsort(-logits, kind="stable")[:k].tolist()


@pytest.mark.parametrize("order", [1, -1])
def test_rows_in_order_and_in_reverse(order: int) -> None:
    logits = np.arange(700, dtype=np.float32)[::order].copy()
    _, indices, _ = kernels.logsumexp_topk(logits, 3)
    assert indices.tolist() == ([699, 698, 697] if order == 1 else [0, 1, 2])


def test_equal_logits_are_taken_by_their_ids() -> None:
    lse, indices, logprobs = kernels.logsumexp_topk(np.full(600, -3.5, np.float32), 4)
    assert indices.tolist() == [0, 1, 2, 3]
    assert lse == pytest.approx(np.log(600) - 3.5)
    near(logprobs, np.full(4, -np.log(600)))


@pytest.mark.parametrize("at", [0, 5, 299])
def test_nan_is_as_impossible_as_minus_infinity(rng: np.random.Generator, at: int) -> None:
    logits = floats(rng, 300)
    logits[at] = -INF
    expected = kernels.logsumexp_topk(logits, 300)
    logits[at] = NAN
    for found, wanted in zip(kernels.logsumexp_topk(logits, 300), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert np.isneginf(expected[2][-1]) and expected[1][-1] == at


def test_beside_plus_infinity_nothing_else_is_possible() -> None:
    lse, indices, logprobs = kernels.logsumexp_topk(np.array([1, INF, NAN, INF, 2], np.float32), 3)
    assert lse == INF
    assert indices.tolist() == [1, 3, 0]
    near(logprobs, np.array([-np.log(2), -np.log(2), -INF]))


@pytest.mark.parametrize("bad", [NAN, -INF])
def test_a_row_without_any_number(bad: float) -> None:
    lse, indices, logprobs = kernels.logsumexp_topk(np.full(40, bad, np.float32), 3)
    assert lse == -INF
    assert indices.tolist() == [0, 1, 2]
    assert np.isneginf(logprobs).all()


@given(st.lists(st.floats(-300, 300, width=32) | st.just(-INF), min_size=1, max_size=90), st.integers(1, 12))
def test_any_row(values: list[float], k: int) -> None:
    logits = np.array(values, np.float32)
    lse, indices, logprobs = kernels.logsumexp_topk(logits, k)
    assert indices.tolist() == np.argsort(-logits, kind="stable")[:k].tolist()
    if np.isfinite(logits).any():
        assert lse == pytest.approx(oracle.logsumexp(logits), rel=1e-6, abs=1e-5)
        near(logprobs, logits[indices] - oracle.logsumexp(logits), scale=300.0)


@pytest.mark.parametrize("n", [*SIZES, 151_937])
def test_only_tokens_with_a_bit_keep_their_logits(rng: np.random.Generator, n: int) -> None:
    logits, allowed = floats(rng, n), rng.random(n) < 0.3
    words = np.packbits(allowed, bitorder="little")
    mask = np.zeros(-(-n // 32), np.uint32)
    mask.view(np.uint8)[: len(words)] = words
    expected = np.where(allowed, logits, -INF).astype(np.float32)
    np.testing.assert_array_equal(kernels.apply_token_mask(logits, mask), expected)
    assert kernels.apply_token_mask(logits, mask, logits) is logits
    np.testing.assert_array_equal(logits, expected)


def test_what_is_masked_is_minus_infinity_whatever_it_was() -> None:
    logits = np.array([NAN, INF, -INF, NAN, INF, 1], np.float32)
    found = kernels.apply_token_mask(logits, np.array([0b111000], np.uint32))
    np.testing.assert_array_equal(found, np.array([-INF, -INF, -INF, NAN, INF, 1], np.float32))


def test_more_words_than_logits_need(rng: np.random.Generator) -> None:
    logits = floats(rng, 33)
    np.testing.assert_array_equal(kernels.apply_token_mask(logits, np.full(9, 2**32 - 1, np.uint32)), logits)
