"""The measurement of constraints: figures add up, and every row is there."""

from __future__ import annotations

from benchmarks.constraints import CONSTRAINTS, measure, table, with_share
from tests.backends.constraints.constrained import bundled_vocabulary, constrainer


def test_every_constraint_can_be_measured() -> None:
    vocab = bundled_vocabulary()
    rows = {name: measure(constrainer(), constraint, vocab, 1) for name, constraint in CONSTRAINTS.items()}
    assert all(figures["mask p99, µs"] > 0 for figures in rows.values())
    lines = table(rows)
    assert [line.split("  ")[0] for line in lines[1:]] == list(CONSTRAINTS)


def test_the_share_is_that_of_all_work_for_a_token() -> None:
    figures = {"fill, µs": 30.0, "apply, µs": 15.0, "accept, µs": 5.0}
    assert with_share(figures, 0.01)["share of a step, %"] == 0.5
    assert with_share(figures, None) == figures
