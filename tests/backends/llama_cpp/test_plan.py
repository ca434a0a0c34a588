"""What a step may take, as tables: chunk sizes follow the measured costs, cells are counted and given back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.llama_cpp.plan import (
    MOST_DECODES_SHARE,
    SMALLEST_CHUNK,
    SMALLEST_PURE_CHUNK,
    STEPS_BETWEEN,
    TILE,
    StepCost,
    Waiting,
    new_tokens_allowed,
    share_out,
)

LONG = Waiting(prompts=1, tokens=10**9, oldest=10**9)


def measured(*steps: tuple[int, int, float], tiled: bool = False) -> StepCost:
    cost = StepCost(tiled=tiled)
    for decodes, prefill, seconds in steps:
        cost.observe(decodes, prefill, seconds)
    return cost


def test_without_measurements_chunks_are_small() -> None:
    assert StepCost().prefill_allowance(0, 512, LONG) == SMALLEST_PURE_CHUNK
    assert measured((3, 0, 0.1)).prefill_allowance(3, 512, LONG) == SMALLEST_CHUNK


def test_alone_a_fast_model_takes_whole_batches() -> None:
    assert measured((0, 64, 0.001)).prefill_allowance(0, 512, LONG) == 512


def test_alone_a_slow_model_takes_what_fits_its_time() -> None:
    assert measured((0, 64, 0.48)).prefill_allowance(0, 512, LONG) == 256, "1.5 s would be 200 tokens"
    assert measured((0, 64, 0.64)).prefill_allowance(0, 512, LONG) == 128, "150 tokens"


def test_what_nobody_waits_for_is_evaluated_in_short_steps() -> None:
    assert measured((0, 64, 0.256)).prefill_allowance(0, 512, LONG._replace(speculative=True)) == 16


def test_alone_chunks_come_from_a_coarse_scale() -> None:
    assert {measured((0, 100, 0.2 * noise)).prefill_allowance(0, 512, LONG) for noise in (0.6, 0.8, 0.9)} == {512}


def test_alone_a_very_slow_model_still_takes_the_smallest_pure_chunk() -> None:
    assert measured((0, 64, 64.0)).prefill_allowance(0, 512, LONG) == SMALLEST_PURE_CHUNK


def test_beside_streams_a_step_is_stretched_by_prompts() -> None:
    cost = measured((8, 0, 0.160), (0, 64, 0.64))
    assert cost.prefill_allowance(8, 512, LONG) == 24


def test_where_more_wait_than_run_those_who_wait_get_more() -> None:
    cost = measured((2, 0, 0.040), (0, 64, 0.64))
    allowed = {
        prompts: cost.prefill_allowance(2, 512, LONG._replace(prompts=prompts)) for prompts in (1, 2, 6, 60, 600)
    }
    assert allowed == {1: 6, 2: 6, 6: 18, 60: 150, 600: 150}


def test_a_first_step_that_waited_for_the_disk_is_forgotten() -> None:
    assert measured((1, 0, 1.8), (1, 0, 0.015)).decode_step(1) == 0.015


def test_a_prompt_that_takes_only_a_moment_is_evaluated_at_once() -> None:
    cost = measured((0, 64, 0.32), (1, 0, 0.015))
    beside = {oldest: cost.prefill_allowance(1, 512, Waiting(1, oldest, oldest)) for oldest in (300, 301)}
    assert beside == {300: 256, 301: 4}
    assert measured((1, 0, 0.015)).prefill_allowance(1, 512, Waiting(1, 2, 2)) == SMALLEST_CHUNK, "its cost is unknown"


def test_what_a_few_tokens_cost_counts_until_a_whole_chunk_was_seen() -> None:
    few, chunk = (0, 16, 0.16), (0, 64, 0.32)
    allowed = [
        measured(*steps).prefill_allowance(0, 512, LONG) for steps in ((few,), (few, chunk), (few, chunk, few, few))
    ]
    assert allowed == [128, 256, 256]


def test_where_attention_is_tiled_whole_tiles_of_prompts_have_steps_of_their_own() -> None:
    cost = measured((0, 64, 0.32), (2, 0, 0.030), tiled=True)
    assert cost.prompts_alone(2, 512, Waiting(1, 120, 120)) == 256
    assert cost.prompts_alone(2, 512, Waiting(1, TILE - 2, 120)) == 256
    assert cost.prompts_alone(2, 512, Waiting(1, TILE - 3, 120)) == 0, "what is left fills no tile"
    assert cost.prompts_alone(2, 512, LONG) == 320, "whole tiles"
    assert cost.prompts_alone(0, 512, LONG) == 0, "nothing decodes"
    assert cost.prompts_alone(2, 48, Waiting(1, 120, 120)) == 0, "no batch can fill a tile"
    assert measured((0, 64, 0.32), (2, 0, 0.030)).prompts_alone(2, 512, Waiting(1, 120, 120)) == 0


def test_prompts_beside_decodes_stay_below_a_tile() -> None:
    steps = ((8, 0, 1.0), (0, 64, 0.64))
    assert measured(*steps).prefill_allowance(8, 512, LONG) > TILE
    assert measured(*steps, tiled=True).prefill_allowance(8, 512, LONG) == TILE - 1 - 8


def test_long_prompts_leave_decodes_their_share_and_more_prompts_leave_less() -> None:
    cost = measured((0, 64, 0.32), (2, 0, 0.030), tiled=True)
    waiting = (Waiting(1, 120, 120), LONG, LONG._replace(prompts=2), LONG._replace(prompts=8))
    assert [cost.decodes_due(1.0, 2, prompts) for prompts in waiting] == [0, 0.75, 0.75, 0.1875]
    assert cost.decodes_due(0.5, 2, LONG) == pytest.approx(STEPS_BETWEEN * 0.030), "pauses are rare"
    assert cost.decodes_due(0.1, 2, LONG) == pytest.approx(MOST_DECODES_SHARE * 0.1), "and the prompt gets on"


def test_slow_decodes_make_pauses_longer_so_that_both_get_about_half() -> None:
    pauses = {
        step_s: measured((0, 64, 0.32), (2, 0, step_s), tiled=True).prompts_alone(2, 1024, LONG) / TILE * 0.32
        for step_s in (0.030, 0.080, 1.0)
    }
    assert pauses == {0.030: pytest.approx(1.6), 0.080: pytest.approx(2.24), 1.0: pytest.approx(2.88)}


def test_a_model_too_slow_for_a_pause_takes_prompts_along_with_the_decodes() -> None:
    cost = measured((0, 64, 3.2), (2, 0, 0.5), tiled=True)
    assert cost.prompts_alone(2, 512, LONG) == 0
    assert 0 < cost.prefill_allowance(2, 512, LONG) < TILE


def test_the_deeper_a_prompt_the_smaller_its_chunks() -> None:
    cost = StepCost(tiled=True)
    for depth in (0, 512, 1024):
        cost.observe(0, 64, 64 * (0.002 + 2e-6 * (depth + 32)), depth)
    cost.observe(2, 0, 0.030)
    chunks = [cost.prompts_alone(2, 512, LONG._replace(filled=filled)) for filled in (0, 1024, 4096)]
    assert chunks == [512, 320, 128]
    assert cost.is_short(Waiting(1, 400, 400))
    assert not cost.is_short(Waiting(1, 400, 400, cached=4096))


def test_where_decodes_alone_fill_a_tile_prompts_come_with_them() -> None:
    cost = measured((68, 0, 0.4), (0, 64, 0.32), tiled=True)
    assert cost.prompts_alone(68, 512, Waiting(1, 120, 120)) == 0
    assert cost.prefill_allowance(68, 512, LONG) > TILE


def test_nothing_is_taken_where_nothing_waits() -> None:
    cost = measured((2, 0, 0.030), (0, 64, 0.32), tiled=True)
    assert (cost.prompts_alone(2, 512, Waiting()), cost.prefill_allowance(2, 512, Waiting())) == (0, 0)


def test_a_width_that_was_never_seen_is_measured_first() -> None:
    cost = measured((1, 0, 0.015), (0, 64, 0.32))
    assert cost.prefill_allowance(4, 512, LONG) == 0
    cost.observe(4, 0, 0.040)
    assert cost.prefill_allowance(4, 512, LONG) == 12


def test_a_prompt_token_beside_streams_costs_what_the_step_took_longer() -> None:
    cost = measured((8, 0, 0.160), (0, 64, 0.64), (8, 16, 0.160 + 16 * 0.02))
    assert cost.prefill_allowance(8, 512, LONG) == 12


def test_a_machine_that_slows_down_beside_a_prompt_keeps_the_chunks() -> None:
    cost = measured((8, 0, 0.160), (0, 64, 0.64))
    chunks = []
    for _ in range(200):
        chunks.append(cost.prefill_allowance(8, 512, LONG))
        cost.observe(8, chunks[-1], 1.4 * (0.160 + chunks[-1] * 0.01))
    assert chunks.count(0) > 9, "now and then the decodes are measured alone"
    assert set(chunks[100:]) <= {0, 21, 22, 23, 24}


def test_a_step_that_took_no_longer_does_not_make_prompts_free() -> None:
    cost = measured((8, 0, 0.160), *[(8, 8, 0.100)] * 9)
    assert cost.prefill_allowance(8, 512, LONG) < 160


def test_a_prompt_beside_streams_always_gets_on() -> None:
    assert measured((8, 0, 0.001), (0, 64, 64.0)).prefill_allowance(8, 512, LONG) == SMALLEST_CHUNK


def test_a_step_never_exceeds_the_batch() -> None:
    assert measured((0, 64, 1e-9), (8, 0, 1.0)).prefill_allowance(8, 64, LONG) == 56


def test_the_nearest_known_width_stands_for_an_unknown_one() -> None:
    cost = measured((1, 0, 0.01), (8, 0, 0.08))
    assert (cost.decode_step(2), cost.decode_step(7)) == (0.01, 0.08)


def test_estimates_follow_a_machine_that_slows_down() -> None:
    cost = measured((1, 0, 0.01), *[(1, 0, 0.05)] * 20)
    assert cost.decode_step(1) == pytest.approx(0.05, rel=0.01)


def test_the_oldest_prompt_takes_all_it_can_use() -> None:
    assert share_out([100, 50, 10], 120) == [100, 20, 0]


def test_the_last_few_tokens_of_the_oldest_prompt_come_along() -> None:
    assert share_out([122, 50], 64, rest=63) == [122, 0]
    assert share_out([128, 50], 64, rest=63) == [64, 0]
    assert share_out([10, 90], 64, rest=63) == [10, 54]


@given(st.lists(st.integers(0, 100), max_size=6), st.integers(0, 300))
def test_shares_add_up_and_nobody_gets_more_than_he_needs(remaining: list[int], allowance: int) -> None:
    shares = share_out(remaining, allowance)
    assert sum(shares) == min(sum(remaining), allowance)
    assert all(0 <= share <= need for share, need in zip(shares, remaining, strict=True))


@pytest.mark.parametrize(
    ("wanted", "prompt", "n", "allowed"),
    [(None, 10, 1, 90), (5, 10, 1, 5), (500, 10, 1, 90), (0, 10, 1, 0), (None, 10, 4, 47), (None, 100, 1, 0)],
)
def test_new_tokens_are_bounded_by_window_and_cells(wanted: int | None, prompt: int, n: int, allowed: int) -> None:
    assert new_tokens_allowed(wanted, prompt, n, window=100, cells=200) == allowed
