from __future__ import annotations

import pytest

from app.routing.agreement import Agreement
from app.routing.decisions import (
    NEVER,
    PRECISIONS,
    Thresholds,
    canonical,
    expert_for,
    least_confidence,
    wilson_lower,
)


@pytest.mark.parametrize(
    ("experts", "expert"),
    [
        ({"math": "m", "general": "g"}, "m"),
        ({"technical": "t", "general": "g"}, "t"),
        ({"general": "g"}, "g"),
        ({"legal": "l"}, "default"),
        ({}, "default"),
    ],
)
def test_math_falls_to_technical_and_then_to_general(experts: dict[str, str], expert: str) -> None:
    assert expert_for("math", experts, "default") == expert


def test_aliases_name_domains() -> None:
    assert canonical("multilingual_expert") == "multilingual"
    assert canonical("coding") == "coding"


def test_the_threshold_is_that_of_the_precision_asked_for() -> None:
    limits = Thresholds({"math": tuple(precision - 0.1 for precision in PRECISIONS)})
    assert limits.at("math", 0.9) == pytest.approx(0.8)
    assert limits.at("math", 0.905) == pytest.approx(0.81)
    assert limits.at("coding", 0.9) == 0.9


def test_a_beginning_decides_after_enough_tokens_chunks_and_agreement() -> None:
    limits = Thresholds(agreement=Agreement({"math": 0.0, "coding": -1.0}), early=0.8)
    assert limits.early_enough("math", (0.85, 0.15), tokens=8, stability=2)
    assert not limits.early_enough("math", (0.85, 0.15), tokens=7, stability=2)
    assert not limits.early_enough("math", (0.85, 0.15), tokens=8, stability=1)
    assert not limits.early_enough("math", (0.75, 0.25), tokens=8, stability=2)
    assert not limits.early_enough("coding", (0.85, 0.15), tokens=8, stability=2)
    assert not Thresholds().early_enough("math", (1.0, 0.0), tokens=99, stability=9)


def test_wilsons_bound_is_below_the_share_and_nears_it() -> None:
    assert wilson_lower(0, 0) == 0
    assert wilson_lower(10, 10, z=1.96) == pytest.approx(0.7225, abs=1e-4)  # 1 / (1 + z² / n)
    assert wilson_lower(9, 10) < wilson_lower(900, 1000) < 0.9


def test_the_least_confidence_keeps_the_precision() -> None:
    confidences = [i / 1000 for i in range(1000)]
    found = least_confidence(confidences, [c >= 0.4 for c in confidences], 0.9)
    answered = [c for c in confidences if c >= found]
    assert sum(c >= 0.4 for c in answered) / len(answered) >= 0.85
    assert found < 0.4


def test_no_threshold_makes_a_coin_precise() -> None:
    assert least_confidence([0.5, 0.6, 0.7, 0.8] * 50, [True, False] * 100, 0.9) == NEVER


def test_equal_confidences_stand_or_fall_together() -> None:
    assert least_confidence([0.8] * 100, [True] * 60 + [False] * 40, 0.9) == NEVER
