"""One thread for all that an engine gives it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial

import pytest

from backends.llama_cpp.native_thread import NativeThread

PATIENCE_S = 10.0


@pytest.fixture
def thread() -> Iterator[NativeThread]:
    made = NativeThread("of a test")
    yield made
    made.end()


def test_everything_is_done_on_the_same_thread_in_order(thread: NativeThread) -> None:
    seen: list[int] = []

    def see(number: int) -> threading.Thread:
        seen.append(number)
        return threading.current_thread()

    futures = [thread.submit(partial(see, number)) for number in range(5)]
    assert len({future.result(PATIENCE_S) for future in futures}) == 1
    assert seen == [0, 1, 2, 3, 4]


def test_what_fails_fails_alone(thread: NativeThread) -> None:
    failing, working = thread.submit(lambda: 1 // 0), thread.submit(lambda: 7)
    with pytest.raises(ZeroDivisionError):
        failing.result(PATIENCE_S)
    assert working.result(PATIENCE_S) == 7


def test_what_was_given_before_the_end_is_still_done() -> None:
    thread = NativeThread("of a test")
    last = thread.submit(threading.current_thread)
    thread.end()
    used = last.result(PATIENCE_S)
    used.join(PATIENCE_S)
    assert not used.is_alive()
