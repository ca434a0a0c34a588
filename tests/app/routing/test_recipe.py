from __future__ import annotations

import numpy as np
import pytest

from app.routing.decisions import NEVER
from app.routing.features import rows_of
from app.routing.recipe import (
    Labelled,
    Options,
    Trace,
    calibrate,
    familiar,
    fit_model,
    importances,
    stable_points,
    traced,
)
from tests.app.routing.small import ROUTES, TEXTS, model

LABELLED = [Labelled(text, label, "a") for text, label in TEXTS]


def test_a_fitted_model_knows_its_texts() -> None:
    found = fit_model(LABELLED, ROUTES, Options())
    for item in LABELLED:
        assert int(np.argmax(traced(found, item).logits[-1])) == item.label


def test_a_trace_has_each_chunk_and_the_whole() -> None:
    item = Labelled("write a function " * 10, 1, "a")
    trace = traced(model(), item, chunk_tokens=10)
    assert trace.tokens == [10, 20, 30, 30]
    assert len(trace.logits) == 4
    rows = rows_of(item.text)
    sums = model().table[rows].sum(0, dtype=np.int64).tolist()
    assert trace.logits[-1] == model().logits(sums)
    assert trace.novelty == model().novelty(sums, len(rows)) < 1
    assert trace.strangeness == model().strangeness(sums)


def test_favoured_texts_count_for_more_and_balance_evens_labels_out() -> None:
    texts = [*(Labelled("x", 0, "a") for _ in range(16)), Labelled("x", 1, "b")]
    assert importances(texts, Options(favoured={"b": 3.0})).tolist() == pytest.approx([0.5] * 16 + [3.0])
    even = importances(texts, Options(balance=1.0))
    assert even[:16].sum() == pytest.approx(even[16])


def test_calibration_is_plain_numbers() -> None:
    traces = [traced(model(), item) for item in LABELLED] * 3
    calibration, thresholds = calibrate(model(), traces, traces, [traced(model(), Labelled("zz qq", -1, "s"))] * 5)
    assert all(type(value) is float for value in (*calibration.temperature, *calibration.out_of_domain))
    assert set(thresholds.by_route) == set(ROUTES)


def test_a_feature_is_familiar_by_the_prompts_that_have_it() -> None:
    texts = [
        Labelled("alpha", 0, "a"),
        Labelled("alpha", 0, "a"),
        Labelled("beta", 0, "words"),
        Labelled("beta", 0, "a"),
    ]
    rows = [rows_of(item.text) for item in texts]
    found = familiar(rows, texts, Options(background=frozenset({"words"}), familiar=2))
    assert found[rows_of("alpha")].all()
    assert not found[rows_of("beta")].any()
    assert familiar(rows, texts, Options())[rows_of("beta")].all()


def test_strangers_are_told_from_texts_of_routes() -> None:
    foreign = [f"who won the {what} in {place}" for what in ("final", "race", "cup") for place in ("rome", "oslo")]
    found = fit_model(LABELLED, ROUTES, Options(), strangers=foreign)
    plain = fit_model(LABELLED, ROUTES, Options())
    assert (found.table[:, :-1] == plain.table[:, :-1]).all()
    assert not plain.table[:, -1].any()
    asked = [traced(found, Labelled(text, 0, "a")).strangeness for text in ("who won the match in paris", TEXTS[0][0])]
    assert asked[0] > 0 > asked[1]


def test_points_to_decide_by_are_early_and_stable() -> None:
    best = [0, 0, 1, 1, 1, 1, 1, 1, 1, 1]
    logits = [[3.0 * (route == here) for route in range(3)] for here in best]
    trace = Trace(1, "a", logits, [8 * (i + 1) for i in range(9)] + [72])
    points = stable_points(trace, (1.0, 0.0))
    assert [(point.route, point.tokens, point.agrees) for point in points] == [(0, 16, False)]
    longer = Trace(1, "a", logits, [*trace.tokens[:-1], 100])
    assert [point.tokens for point in stable_points(longer, (1.0, 0.0))] == [16, 32]


def test_early_decisions_are_fitted_on_long_texts_only() -> None:
    short = [traced(model(), item) for item in LABELLED] * 9
    assert calibrate(model(), short, short, [], {"a"})[1].early == NEVER
    long = [traced(model(), Labelled(f"{item.text} " * 12, item.label, "a")) for item in LABELLED] * 9
    assert calibrate(model(), long, long, [], {"a"})[1].early < 1
    assert calibrate(model(), long, long, [], {"b"})[1].early == NEVER
