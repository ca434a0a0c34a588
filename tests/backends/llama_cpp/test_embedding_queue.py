"""Whose inputs go into a batch, and what becomes of calls that end early, fail or come too late."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from backends.base import EngineClosedError, EngineError
from backends.llama_cpp.embedding_queue import Call, EmbeddingQueue, Outcome, next_batch
from backends.llama_cpp.native_thread import NativeThread

PATIENCE_S = 10.0


def call(*sizes: int) -> Call:
    """Inputs of these sizes; the first id of each is its number."""
    return Call([[number] * size for number, size in enumerate(sizes)])


def taken(waiting: deque[Call], calls: Sequence[Call], tokens: int = 10, inputs: int = 100) -> list[tuple[int, int]]:
    """The next batch as numbers of calls and inputs."""
    return [(calls.index(owner), number) for owner, number in next_batch(waiting, tokens, inputs)]


def batches(*calls: Call, tokens: int = 10, inputs: int = 100) -> list[list[tuple[int, int]]]:
    """All batches that the calls make."""
    waiting = deque(calls)
    found = []
    while waiting:
        found.append(taken(waiting, calls, tokens, inputs))
    return found


@pytest.mark.parametrize(
    ("calls", "expected"),
    [
        ([call(3)], [[(0, 0)]]),
        ([call(3, 3, 3)], [[(0, 0), (0, 1), (0, 2)]]),
        ([call(3, 3, 3, 3), call(3)], [[(0, 0), (1, 0), (0, 1)], [(0, 2), (0, 3)]]),
        ([call(4, 8), call(4, 4)], [[(0, 0), (1, 0)], [(0, 1)], [(1, 1)]]),
        ([call(50, 2), call(2)], [[(0, 0)], [(1, 0), (0, 1)]]),
        ([call(2), call(50)], [[(0, 0)], [(1, 0)]]),
        ([call(10), call(10)], [[(0, 0)], [(1, 0)]]),
    ],
)
def test_calls_take_turns_and_fill_the_batch(calls: list[Call], expected: list[list[tuple[int, int]]]) -> None:
    assert batches(*calls) == expected


def test_a_batch_has_a_bounded_number_of_inputs() -> None:
    assert batches(call(1, 1, 1), inputs=2) == [[(0, 0), (0, 1)], [(0, 2)]]


@given(st.lists(st.lists(st.integers(1, 20), min_size=1, max_size=8), min_size=1, max_size=6))
def test_every_input_is_taken_once_and_batches_hold_what_they_may(sizes: list[list[int]]) -> None:
    calls = [call(*inputs) for inputs in sizes]
    found = batches(*calls, inputs=5)
    assert sorted(sum(found, [])) == [(i, number) for i, inputs in enumerate(sizes) for number in range(len(inputs))]
    for batch in found:
        assert len(batch) <= 5
        assert len(batch) == 1 or sum(sizes[owner][number] for owner, number in batch) <= 10


@given(st.integers(1, 50), st.lists(st.integers(1, 10), min_size=1, max_size=5))
def test_a_call_waits_for_one_input_of_each_call_before_it(many: int, sizes: list[int]) -> None:
    found = batches(call(*[5] * many), *(call(size) for size in sizes))
    order = [owner for batch in found for owner, _ in batch]
    assert [order.index(number) for number in range(len(sizes) + 1)] == list(range(len(sizes) + 1))


class Machine:
    """Computes under the test's eyes: every batch waits until it is let through. A vector is the input's first id."""

    n_batch = 10

    def __init__(self) -> None:
        self.batches: list[list[list[int]]] = []
        self.failing = False
        self.begun = threading.Semaphore(0)
        self.allowed = threading.Semaphore(0)

    def embed(self, inputs: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        self.batches.append([list(ids) for ids in inputs])
        self.begun.release()
        assert self.allowed.acquire(timeout=PATIENCE_S)
        if self.failing:
            raise EngineError("it failed")
        return np.array([[ids[0]] for ids in inputs], np.float32)


class Fixture:
    """A queue on such a machine, and what it delivers."""

    def __init__(self) -> None:
        self.machine = Machine()
        self.outcomes: list[Outcome] = []
        self.delivered = threading.Semaphore(0)
        self.queue = EmbeddingQueue(self.machine, most_inputs=8, deliver=self._deliver)
        self.thread = NativeThread("queue")
        self.queue.start(self.thread)

    def _deliver(self, outcomes: list[Outcome]) -> None:
        self.outcomes += outcomes
        self.delivered.release()

    def submit(self, *calls: Call) -> None:
        for one in calls:
            self.queue.submit(one)

    def until_begun(self) -> None:
        assert self.machine.begun.acquire(timeout=PATIENCE_S)

    def finish_batch(self) -> None:
        self.machine.allowed.release()
        assert self.delivered.acquire(timeout=PATIENCE_S)


@pytest.fixture
def running() -> Iterator[Fixture]:
    found = Fixture()
    yield found
    found.machine.allowed.release(100)
    found.queue.close()
    found.thread.end()


def test_what_comes_during_a_batch_shares_the_next_one(running: Fixture) -> None:
    first, second, third = call(2), call(3), call(4)
    running.submit(first)
    running.until_begun()
    running.submit(second, third)
    running.finish_batch()
    running.until_begun()
    running.finish_batch()
    assert [len(batch) for batch in running.machine.batches] == [1, 2]
    assert running.outcomes == [(first, None), (second, None), (third, None)]
    assert third.vectors[0] == [0.0]


def test_vectors_come_back_to_the_inputs_that_they_belong_to(running: Fixture) -> None:
    large = call(6, 6, 6)
    running.submit(large)
    for _ in range(3):
        running.until_begun()
        running.finish_batch()
    assert running.outcomes == [(large, None)]
    assert [large.vectors[number][0] for number in range(3)] == [0, 1, 2]


def test_an_aborted_call_takes_no_further_place(running: Fixture) -> None:
    dropped, other = call(6, 6, 6, 6), call(6)
    running.submit(dropped)
    running.until_begun()
    running.submit(other)
    running.queue.abort(dropped)
    assert running.queue.stats()["waiting"] == 1
    running.finish_batch()
    running.until_begun()
    running.finish_batch()
    assert [len(batch) for batch in running.machine.batches] == [1, 1]
    assert running.outcomes == [(other, None)]
    running.queue.abort(other)


def test_a_failure_ends_the_calls_of_the_batch_and_no_others(running: Fixture) -> None:
    failed, other = call(6, 6), call(6)
    running.machine.failing = True
    running.submit(failed)
    running.until_begun()
    running.submit(other)
    running.finish_batch()
    running.machine.failing = False
    running.until_begun()
    running.finish_batch()
    (first, error), second = running.outcomes
    assert (first, str(error), second) == (failed, "it failed", (other, None))
    assert len(running.machine.batches) == 2


def test_the_numbers_follow_what_happens(running: Fixture) -> None:
    running.submit(call(6, 6), call(6))
    running.until_begun()
    assert (running.queue.stats()["running"], running.queue.stats()["waiting"]) == (1, 1)
    for _ in range(2):
        running.finish_batch()
        running.until_begun()
    running.finish_batch()
    stats = running.queue.stats()
    assert (stats["waiting"], stats["prompt_tokens_evaluated"]) == (0, 18)
    assert (stats["inputs_embedded"], stats["batches"]) == (3, 3)


def test_closing_ends_what_waits_and_refuses_what_comes(running: Fixture) -> None:
    half, waiting = call(6, 6), call(6)
    running.submit(half)
    running.until_begun()
    running.submit(waiting)
    closing = threading.Thread(target=running.queue.close)
    closing.start()
    with pytest.raises(EngineClosedError):
        for _ in range(1_000_000):
            running.queue.submit(waiting_too := call(1))
    running.machine.allowed.release()
    closing.join(PATIENCE_S)
    running.queue.close()
    ended = {outcome for outcome, error in running.outcomes if isinstance(error, EngineClosedError)}
    assert ended >= {half, waiting}
    assert waiting_too not in ended
