"""Medians, ratios and aims, from samples alone."""

from __future__ import annotations

import pytest

from benchmarks.figures import Aim, Figure, Samples, middle, quantile, ratios, rotated

SPEED = Figure("speed", "tok/s", "more", (Aim(1.0, ("fast", "slow")),), (("slow",),))
TIME = Figure("time", "s", "less", (Aim(4.0, ("fast",)),))
SHARE = Figure("share", "%", "less", (Aim(3.0, at_least=False),))


def speeds(**by_server: list[float]) -> Samples:
    return {server: [{"speed": value} for value in values] for server, values in by_server.items()}


def test_ratios_are_formed_turn_by_turn_and_keep_their_spread() -> None:
    [ratio] = ratios(SPEED, speeds(ours=[10, 20, 30], fast=[10, 10, 10]), "ours")
    assert ratio.values == (1, 2, 3)
    assert (ratio.median, ratio.spread) == (2, (1, 3))


def test_a_peer_is_compared_with_the_flags_that_suit_it_best() -> None:
    against_best, against_slow = ratios(SPEED, speeds(ours=[10], fast=[20], slow=[5]), "ours")
    assert (against_best.against, against_best.median, against_best.met) == ("fast", 0.5, False)
    assert (against_slow.against, against_slow.median, against_slow.met) == ("slow", 2, None)


def test_a_ratio_above_one_is_better_for_ours_whatever_is_measured() -> None:
    samples = {"ours": [{"time": 10.0}], "fast": [{"time": 50.0}]}
    [ratio] = ratios(TIME, samples, "ours")
    assert (ratio.median, ratio.met) == (5, True)


@pytest.mark.parametrize(("value", "met"), [(2.9, True), (3.0, True), (3.1, False)])
def test_an_aim_without_a_peer_judges_the_figure_itself(value: float, met: bool) -> None:
    [ratio] = ratios(SHARE, {"ours": [{"share": value}]}, "ours")
    assert (ratio.against, ratio.values, ratio.met) == ("", (value,), met)


@pytest.mark.parametrize("samples", [{}, {"ours": []}, {"ours": [{"time": 1.0}]}, {"fast": [{"time": 1.0}]}])
def test_what_was_not_measured_has_no_ratio(samples: Samples) -> None:
    assert ratios(TIME, samples, "ours") == []


def test_turns_that_one_side_lacks_are_left_out() -> None:
    [ratio] = ratios(TIME, {"ours": [{"time": 1.0}, {"time": 1.0}], "fast": [{"time": 5.0}]}, "ours")
    assert ratio.values == (5,)


def test_the_middle_of_nothing_is_nothing() -> None:
    assert middle("speed", [{"speed": 3.0}, {"speed": 1.0}, {"speed": 2.0}]) == 2
    assert middle("speed", [{"other": 1.0}]) is None


def test_everybody_is_first_once() -> None:
    assert [rotated("abc", turn) for turn in range(4)] == [list("abc"), list("bca"), list("cab"), list("abc")]


def test_quantiles_of_few_values_are_values() -> None:
    assert quantile([3, 1, 2], 0.5) == 2
    assert quantile([1], 0.95) == 1
    assert quantile(range(100), 0.95) == 95
