"""What prompt tokens cost by depth: a line through noisy chunks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.llama_cpp.prompt_cost import PromptCost


def learnt(*chunks: tuple[int, int, float]) -> PromptCost:
    cost = PromptCost()
    for tokens, depth, seconds in chunks:
        cost.observe(tokens, depth, seconds)
    return cost


def test_nothing_is_known_at_first() -> None:
    assert not PromptCost().known
    assert learnt((64, 0, 0.1)).known


def test_one_chunk_is_a_level_line() -> None:
    cost = learnt((64, 0, 0.64))
    assert cost.prompt(100, 0) == cost.prompt(100, 5000) == pytest.approx(1.0)
    assert cost.tokens_in(2.0, 0) == pytest.approx(200)


@given(st.floats(1e-4, 1.0), st.floats(0, 1e-4), st.integers(0, 10_000), st.integers(1, 5_000))
def test_chunks_on_a_line_give_the_line(first_s: float, slope_s: float, depth: int, tokens: int) -> None:
    chunks = [(128, at, 128 * (first_s + slope_s * (at + 64))) for at in (0, 512, 1024, 2048)]
    cost = learnt(*chunks)
    assert cost.token(depth) == pytest.approx(first_s + slope_s * depth)
    assert cost.prompt(tokens, depth) == pytest.approx(tokens * (first_s + slope_s * (depth + tokens / 2)))


@given(st.floats(1e-4, 1.0), st.floats(0, 1e-4), st.integers(0, 10_000), st.floats(0.1, 10.0))
def test_the_tokens_of_a_time_take_that_time(first_s: float, slope_s: float, depth: int, seconds: float) -> None:
    cost = learnt(*[(128, at, 128 * (first_s + slope_s * (at + 64))) for at in (0, 512, 1024)])
    tokens = cost.tokens_in(seconds, depth)
    assert tokens * cost.token(depth + tokens / 2) == pytest.approx(seconds)


def test_a_chunk_that_had_to_wait_moves_nothing() -> None:
    steady = [(128, at, 128 * (0.005 + 1e-6 * (at + 64))) for at in (0, 300, 600, 900, 1200)]
    cost = learnt(*steady, (128, 1500, 9.0))
    assert cost.token(1000) == pytest.approx(0.006, rel=0.05)


def test_the_latest_chunks_count() -> None:
    assert learnt((64, 0, 0.64), *[(64, 0, 1.28)] * 12).token(0) == pytest.approx(0.02)


def test_few_tokens_count_until_a_whole_chunk_was_seen() -> None:
    few, chunk = (16, 0, 0.32), (64, 0, 0.64)
    assert [learnt(*seen).token(0) for seen in ((few,), (few, chunk), (few, chunk, few))] == [0.02, 0.01, 0.01]


def test_deeper_tokens_are_never_believed_to_cost_less() -> None:
    cost = learnt((64, 0, 0.64), (64, 1000, 0.32), (64, 2000, 0.16))
    assert cost.token(5000) == cost.token(0) > 0
