"""Who gets KV cells: never more than there are, and never cells of another text."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import settings, strategies
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from backends.llama_cpp.cells import CacheShape, Claim, KVCells


class SimulatedMemory:
    """Cells as llama.cpp has them: each holds one token of one key at one position, and is seen by some sequences."""

    def __init__(self) -> None:
        self.seen: dict[int, list[tuple[Hashable, int, object]]] = {}
        self.saved = 0

    def write(self, sequence: int, key: Hashable, tokens: list[int]) -> None:
        self.seen.setdefault(sequence, []).extend((key, token, object()) for token in tokens)

    def text(self, sequence: int) -> list[tuple[Hashable, int]]:
        return [(key, token) for key, token, _ in self.seen.get(sequence, [])]

    @property
    def used(self) -> int:
        return len({cell for cells in self.seen.values() for cell in cells})

    def intact(self, sequence: int, length: int) -> bool:
        return length <= len(self.seen[sequence])

    def copy(self, source: int, target: int, length: int) -> None:
        assert not self.seen.get(target), "a sequence is opened over another text"
        self.seen[target] = self.seen[source][:length]

    def trim(self, sequence: int, length: int) -> None:
        self.seen[sequence] = self.seen[sequence][:length]

    def forget(self, sequence: int) -> None:
        self.seen.pop(sequence, None)

    def save(self, sequence: int) -> Any:
        self.saved += 1
        return self.text(sequence)

    def restore(self, sequence: int, saved: Any) -> bool:
        assert not self.seen.get(sequence), "a sequence is restored over another text"
        for key, token in saved:
            self.write(sequence, key, [token])
        return True


class ForgetfulMemory(SimulatedMemory):
    """One whose cells are not always all there (a sliding window), and which cannot always be filled again."""

    def intact(self, sequence: int, length: int) -> bool:
        return super().intact(sequence, length) and length % 3 != 1

    def restore(self, sequence: int, saved: Any) -> bool:
        return len(saved) % 5 != 0 and super().restore(sequence, saved)


def kv_cells(
    cells: int = 100, parallel: int = 4, keep: int = 100, extra: int = 4, **changes: int
) -> tuple[KVCells, SimulatedMemory]:
    memory = SimulatedMemory()
    return KVCells(CacheShape(cells, parallel + extra, parallel, keep, **changes), memory), memory


def run(cells: KVCells, memory: SimulatedMemory, prompt: list[int], answer: list[int], key: str = "") -> int:
    """Serve one request from beginning to end; returns how many tokens were cached."""
    claim = Claim(key, prompt, len(answer))
    (sequence,), cached = cells.admit(claim)
    for tokens in (prompt[cached:], answer):
        memory.write(sequence, key, tokens)
        cells.extend(sequence, tokens)
    cells.release([sequence], 0)
    return cached


def test_a_prompt_finds_the_conversation_that_it_continues() -> None:
    cells, memory = kv_cells()
    assert run(cells, memory, [1, 2, 3], [4, 5]) == 0
    assert run(cells, memory, [1, 2, 3, 4, 5, 6], [7]) == 5


def test_the_last_token_of_a_prompt_is_always_evaluated() -> None:
    cells, memory = kv_cells()
    run(cells, memory, [1, 2, 3], [4])
    assert run(cells, memory, [1, 2, 3], [4]) == 2


def test_another_key_never_sees_the_prefix() -> None:
    cells, memory = kv_cells()
    run(cells, memory, [1, 2, 3], [4], key="ana")
    assert run(cells, memory, [1, 2, 3, 4], [5], key="ben") == 0


def test_where_every_logit_is_wanted_nothing_is_reused() -> None:
    cells, memory = kv_cells()
    run(cells, memory, [1, 2, 3], [4])
    assert cells.cached_length(Claim("", [1, 2, 3, 4], reuse=False)) == 0


def test_repeating_a_request_keeps_one_copy() -> None:
    cells, memory = kv_cells()
    for _ in range(3):
        run(cells, memory, [1, 2, 3], [4, 5])
    assert cells.cached == memory.used == 5


def test_no_more_is_kept_than_was_allowed_and_the_oldest_text_loses_its_end_first() -> None:
    cells, memory = kv_cells(keep=10)
    run(cells, memory, [1] * 6, [])
    run(cells, memory, [2] * 7, [])
    assert cells.cached == memory.used == 10
    assert cells.cached_length(Claim("", [1] * 9)) == 3
    assert cells.cached_length(Claim("", [2] * 9)) == 7


def test_a_text_that_served_again_outlives_one_that_did_not() -> None:
    cells, memory = kv_cells(keep=12)
    run(cells, memory, [1] * 6, [])
    run(cells, memory, [2] * 6, [])
    run(cells, memory, [1] * 6 + [3], [])
    assert cells.cached_length(Claim("", [1] * 7)) == 6
    assert cells.cached_length(Claim("", [2] * 7)) == 5


def test_cached_cells_give_way_to_whoever_needs_them() -> None:
    cells, memory = kv_cells(cells=20)
    run(cells, memory, [1] * 15, [])
    big = Claim("", [2] * 10, 10)
    assert cells.fits(big)
    cells.admit(big)
    assert (cells.cached, cells.reserved) == (0, 20)


STORING = {"idle": 6, "worth_copying": 2}


def test_what_leaves_the_cells_comes_back_from_the_store() -> None:
    cells, memory = kv_cells(cells=20, **STORING)
    run(cells, memory, [1] * 15, [])
    run(cells, memory, [2] * 10, [])
    assert (cells.cached, cells.stored) == (10, 15)
    assert run(cells, memory, [1] * 12 + [3], []) == 12


def test_a_copy_pays_by_what_it_saves_of_what_is_copied() -> None:
    shape = CacheShape(cells=100, sequences=8, parallel=4, keep=100)
    assert [saved for saved in range(70) if shape.pays(saved, 100)][0] == shape.worth_copying
    assert [saved for saved in range(70) if shape.pays(saved, 1664)][0] == 52


def test_what_is_kept_together_never_exceeds_what_was_allowed() -> None:
    cells, memory = kv_cells(keep=40, extra=8, worth_copying=1)
    for tail in range(6):
        run(cells, memory, [9] * 20 + [tail] * 3, [])
    cells.settle()
    assert cells.cached == 0
    assert 0 < cells.stored <= 40
    assert memory.saved == 1, "what would be thrown out at once is not copied"


def test_what_the_store_has_already_is_not_copied_for_a_few_tokens_more() -> None:
    cells, memory = kv_cells(cells=1000, keep=1000, worth_copying=2)
    for length in (320, 325, 340):
        run(cells, memory, [1] * length, [])
        cells.settle()
    assert (cells.stored, memory.saved) == (340, 2)


def test_of_stored_texts_with_the_same_prefix_the_shortest_comes_back() -> None:
    cells, memory = kv_cells(cells=1000, keep=1000)
    for length in (500, 30):
        run(cells, memory, [1] * 12 + [length] * length, [])
        cells.settle()
    assert cells.cached_length(Claim("", [1] * 12 + [0])) == 12
    assert run(cells, memory, [1] * 12 + [0], []) == 12


def test_followers_count_only_what_is_worth_restoring() -> None:
    cells, memory = kv_cells(cells=1000, keep=1000)
    run(cells, memory, [1] * 12 + [2] * 500, [])
    cells.settle()
    assert cells.cached_length(Claim("", [1] * 12 + [0])) == 0


def test_what_is_stored_counts_as_kept() -> None:
    cells, memory = kv_cells(cells=20, keep=24, **STORING)
    for token in range(3):
        run(cells, memory, [token] * 10, [])
    assert cells.cached + cells.stored <= 24
    assert cells.cached_length(Claim("", [0] * 9)) == 0


def test_a_stored_text_that_goes_on_is_stored_once() -> None:
    cells, memory = kv_cells(cells=20, **STORING)
    for length in (10, 12, 14):
        run(cells, memory, [1] * length, [])
        run(cells, memory, [2] * 15, [])
    assert cells.stored == 14 + 15


def test_what_is_stored_under_another_key_stays_there() -> None:
    cells, memory = kv_cells(cells=20, **STORING)
    run(cells, memory, [1] * 15, [], key="ana")
    run(cells, memory, [2] * 15, [], key="ana")
    assert cells.stored == 15
    assert run(cells, memory, [1] * 15, [], key="ben") == 0


def test_few_cells_stay_unused_while_others_compute() -> None:
    cells, memory = kv_cells(**STORING)
    run(cells, memory, [1] * 15, [])
    cells.admit(Claim("", [2] * 4))
    assert (cells.cached, cells.stored) == (15, 0), "another one that is admitted now may begin with it"
    cells.settle()
    assert (cells.cached, cells.stored) == (0, 15)


def test_beside_many_cells_in_use_a_few_idle_ones_may_stay() -> None:
    cells, memory = kv_cells()
    run(cells, memory, [1] * 64 + [2] * 8, [])
    cells.admit(Claim("", [1] * 64 + [3]))
    cells.settle()
    assert (cells.cached, cells.stored) == (8, 0)


def test_a_prefix_in_use_counts_once() -> None:
    cells, memory = kv_cells(cells=20)
    (first,), _ = cells.admit(Claim("", [1] * 12, 2))
    memory.write(first, "", [1] * 12)
    cells.extend(first, [1] * 12)
    assert not cells.fits(Claim("", [2] * 12, 2))
    assert cells.fits(Claim("", [1] * 12, 2))


def test_a_claim_that_does_not_fit_is_refused() -> None:
    cells, _ = kv_cells(cells=10)
    for claim in (Claim("", [1] * 9, 2), Claim("", [1], 1, n=5)):
        assert not cells.fits(claim)
        with pytest.raises(ValueError, match="does not fit"):
            cells.admit(claim)


def test_without_spare_sequences_nothing_is_shared_or_kept() -> None:
    cells, memory = kv_cells(extra=0)
    run(cells, memory, [1, 2, 3], [4])
    assert (cells.cached, memory.used, cells.cached_length(Claim("", [1, 2, 3]))) == (0, 0, 0)


@dataclass
class Request:
    claim: Claim
    sequences: list[int]
    filled: int
    promised: int
    opened: int = 1
    own: dict[int, list[int]] = field(default_factory=dict)


class Traffic(RuleBasedStateMachine):
    """Random requests on a small cache, next to a memory that knows which text each cell is of."""

    kind = SimulatedMemory

    def __init__(self) -> None:
        super().__init__()
        self.memory = self.kind()
        self.cells = KVCells(CacheShape(40, sequences=5, parallel=3, keep=40, **STORING), self.memory)
        self.requests: list[Request] = []

    @rule(
        key=strategies.sampled_from("ab"),
        prompt=strategies.lists(strategies.integers(0, 1), min_size=1, max_size=20),
        new=strategies.integers(0, 8),
        n=strategies.integers(1, 3),
    )
    def arrive(self, key: str, prompt: list[int], new: int, n: int) -> None:
        claim = Claim(key, prompt, new, n)
        if self.cells.fits(claim):
            sequences, cached = self.cells.admit(claim)
            assert cached < len(prompt)
            self.requests.append(Request(claim, sequences, cached, len(prompt) - cached + n * new))
            assert self.memory.text(sequences[0]) == [(key, token) for token in prompt[:cached]]

    @precondition(lambda self: self.requests)
    @rule(data=strategies.data())
    def evaluate(self, data: strategies.DataObject) -> None:
        request = data.draw(strategies.sampled_from(self.requests))
        left = request.claim.prompt[request.filled :]
        if left:
            tokens = left[: data.draw(strategies.integers(1, len(left)))]
            request.filled += len(tokens)
            self._write(request, request.sequences[0], tokens)
            return
        for sequence in request.sequences[request.opened :]:
            self.cells.fork(request.claim.key, request.sequences[0], sequence)
            request.opened += 1
        for sequence in request.sequences:
            own = request.own.setdefault(sequence, [])
            if len(own) < request.claim.new:
                own.append(data.draw(strategies.integers(0, 1)))
                self._write(request, sequence, own[-1:])

    @rule()
    def compute(self) -> None:
        self.cells.settle()
        assert self.cells.cached <= max(self.cells.shape.idle, self.cells.reserved // 8)

    @precondition(lambda self: self.requests)
    @rule(data=strategies.data())
    def end(self, data: strategies.DataObject) -> None:
        request = data.draw(strategies.sampled_from(self.requests))
        self.requests.remove(request)
        self.cells.release(request.sequences, request.promised)

    def _write(self, request: Request, sequence: int, tokens: list[int]) -> None:
        self.memory.write(sequence, request.claim.key, tokens)
        self.cells.extend(sequence, tokens)
        request.promised -= len(tokens)

    @invariant()
    def cells_in_use_are_those_counted(self) -> None:
        shape = self.cells.shape
        assert self.memory.used == self.cells.cached + self.cells.reserved - self.cells.promised <= shape.cells
        assert self.cells.promised == sum(request.promised for request in self.requests)
        assert self.memory.used + self.cells.promised <= shape.cells
        assert self.cells.cached + self.cells.stored <= shape.keep
        if not self.requests:
            assert self.cells.reserved == 0

    @invariant()
    def every_sequence_holds_its_own_text(self) -> None:
        for request in self.requests:
            for sequence in request.sequences[: request.opened]:
                text = request.claim.prompt[: request.filled] + request.own.get(sequence, [])
                assert self.memory.text(sequence) == [(request.claim.key, token) for token in text]


Traffic.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
TestTraffic = Traffic.TestCase


class ForgetfulTraffic(Traffic):
    """The same where what is cached or stored may turn out to be of no use."""

    kind = ForgetfulMemory


ForgetfulTraffic.TestCase.settings = Traffic.TestCase.settings
TestForgetfulTraffic = ForgetfulTraffic.TestCase
