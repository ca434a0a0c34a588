"""The table and the JSON document, from samples alone."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from benchmarks.contenders import LLAMA_SERVER, OURS, PACKAGE_SERVER, SPECULATING
from benchmarks.figures import Aim, Figure, Figures
from benchmarks.report import Outcome, document, number, table
from benchmarks.rows import Row

SPEED = Figure("decode", "tok/s", "more", (Aim(0.97, (LLAMA_SERVER,)), Aim(5, (PACKAGE_SERVER,))))
STRETCH = Figure("gap stretch", "×", "less", (Aim(3, at_least=False),))
ROW = Row("1-client", "1 client", None, (SPEED, STRETCH), (OURS, LLAMA_SERVER, PACKAGE_SERVER))
SERVERS = [OURS, LLAMA_SERVER, PACKAGE_SERVER]


def outcome() -> Outcome:
    samples: dict[str, list[Figures]] = {
        OURS: [{"decode": 24.0, "gap stretch": 4.0}, {"decode": 26.0, "gap stretch": 2.0}],
        LLAMA_SERVER: [{"decode": 25.0}, {"decode": 25.0}],
    }
    return Outcome(ROW, samples, {PACKAGE_SERVER: "there is no compiler"})


def test_the_table_has_medians_ratios_spreads_and_aims() -> None:
    lines = table([outcome()], SERVERS).splitlines()
    assert lines[0].split() == ["load", "figure", *SERVERS]
    assert lines[1].split() == ["1", "client", "decode,", "tok/s", "25.0", "25.0", "–"]
    assert lines[2].strip() == "1.00 × llama-server (0.960 to 1.04); aim ≥ 0.97: met"
    assert lines[3].split() == ["gap", "stretch,", "×", "3.00", "–", "–"]
    assert lines[4].strip() == "aim ≤ 3: met (2.00 to 4.00)"


def test_columns_stand_below_their_heads() -> None:
    lines = table([outcome()], SERVERS).splitlines()
    assert lines[1].index("25.0") + 4 == lines[0].index(OURS) + len(OURS)


def test_a_row_may_compare_a_variant_of_ours_with_ours() -> None:
    row = replace(ROW, figures=(Figure("decode", "tok/s", "more", (), ((OURS,),)),), ours=SPECULATING)
    found = Outcome(row, {OURS: [{"decode": 20.0}], SPECULATING: [{"decode": 50.0}]})
    assert table([found], [OURS]).splitlines()[2].strip() == f"{SPECULATING}: 50.0, 2.50 × {OURS}"


def test_an_aim_that_is_missed_is_hard_to_overlook() -> None:
    slow = Outcome(ROW, {OURS: [{"decode": 1.0}], LLAMA_SERVER: [{"decode": 2.0}]})
    assert "0.500 × llama-server; aim ≥ 0.97: NOT MET" in table([slow], SERVERS)


def test_a_peer_that_is_missing_is_named_with_the_reason() -> None:
    expected = f"{PACKAGE_SERVER} not available (1 client; 1 client): there is no compiler"
    assert table([outcome(), outcome()], SERVERS).splitlines()[-1] == expected


def test_the_document_is_json_and_holds_every_sample() -> None:
    found = json.loads(json.dumps(document([outcome()], cores=2)))
    assert found["cores"] == 2
    [row] = found["rows"]
    assert row["samples"][OURS][1] == {"decode": 26.0, "gap stretch": 2.0}
    assert row["not_available"] == {PACKAGE_SERVER: "there is no compiler"}
    against, itself = row["comparisons"]
    assert (against["against"], against["values"], against["met"]) == (LLAMA_SERVER, [0.96, 1.04], True)
    assert (itself["against"], itself["median"], itself["aim"]) == (None, 3, "aim ≤ 3")


@pytest.mark.parametrize(("value", "text"), [(1234.5, "1234"), (99.96, "100"), (25, "25.0"), (0.01234, "0.0123")])
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert number(value) == text
