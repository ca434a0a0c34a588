from __future__ import annotations

import pytest

import kernels
from benchmarks.instructions import PROCESSORS, Case, Counted, UnavailableError, broken, compiled, own, table
from benchmarks.kernel_calls import calls
from benchmarks.kernels import side_by_side


def test_a_count_above_its_budget_is_broken() -> None:
    allowed = {"dot": {"scalar": 1000, "neon": 100}}
    assert list(broken({"dot": {"scalar": 1030, "neon": 50}}, allowed)) == []
    (line,) = broken({"dot": {"scalar": 1031, "neon": 100}}, allowed)
    assert line == "dot at scalar: 1031 instructions, +3.1% against its budget 1000"


def test_what_has_no_budget_or_no_count_is_broken() -> None:
    counts, allowed = {"dot": {"scalar": 1}, "new": {"scalar": 2}}, {"dot": {"scalar": 1, "neon": 5}}
    assert [line.split(":")[0] for line in broken(counts, allowed)] == ["dot at neon", "new at scalar"]


def test_levels_that_do_nothing_of_their_own_are_left_out() -> None:
    assert own({"scalar": 1000, "neon": 300, "dotprod": 301, "i8mm": 100}) == {"scalar": 1000, "neon": 300, "i8mm": 100}


def test_the_table_gives_instructions_per_unit() -> None:
    counted = Counted("GCC 12", {"dot": {"scalar": 64, "dotprod": 8}}, (Case("dot", 32, "element"),))
    head, line = table(counted)
    assert head.split()[-4:] == list(PROCESSORS)
    assert line.split() == ["dot,", "element", "2.000", "0.250"]


def test_the_budgets_reach_what_was_aimed_at() -> None:
    counts = Counted.read().counts
    aims = {
        ("similarity_topk_int8_known_norms", "dotprod", 32 * 4096): 0.33,
        ("gather_accumulate_int8", "neon", 64 * 384): 0.40,
        ("dot_q4_0_q8_0", "dotprod", 4096): 0.70,
        ("softmax", "neon", 4096): 10.5,
        ("matmul_tile", "neon", 256): 21,
    }
    for (name, level, units), most in aims.items():
        assert counts[name][level] / units <= most, name


def test_every_call_has_a_budget(tmp_path_factory: pytest.TempPathFactory) -> None:
    try:
        counter = compiled(tmp_path_factory.mktemp("instructions"))
    except UnavailableError as error:
        pytest.skip(str(error))
    assert {case.name for case in counter.cases()} == set(Counted.read().counts)
    assert counter.count("softmax", "neon") == counter.count("softmax", "neon") > 4096


def test_every_measured_call_runs() -> None:
    measured = list(calls())
    assert {call.function for call in measured} <= set(kernels.active())
    for call in measured:
        call.run()
        for peer in call.peers.values():
            peer()
    assert len({call.name for call in measured}) == len(measured)


def test_a_call_without_peers_is_measured_beside_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr("benchmarks.kernels.kernels.select", seen.append)
    monkeypatch.setattr("benchmarks.kernels.batch", lambda _: float(len(seen)))
    call = next(call for call in calls() if not call.peers)
    assert set(side_by_side(call, "auto")) == {"ours", "NumPy"}
    assert seen[:2] == ["auto", "numpy"]
    assert seen[-1] == "auto"
