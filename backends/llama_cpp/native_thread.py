"""The one thread of an engine that loads a model and computes with it.

OpenMP keeps a team of threads for every thread that has ever computed, be it only while loading: for some processors
weights are rearranged then. GCC's counts all of them. When there are more than cores, threads that wait for each other,
as they do many hundred times in a step, go to sleep instead of spinning. With a second team that had nothing to do,
steps took a third longer.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")


class NativeThread:
    """Does what it is given, one thing after the other."""

    def __init__(self, name: str) -> None:
        self._tasks: SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = SimpleQueue()
        # A daemon, so that a process can end whatever llama.cpp is doing.
        threading.Thread(target=self._main, name=name, daemon=True).start()

    def submit(self, task: Callable[[], T]) -> Future[T]:
        """Do `task` after what was given before; the future has what it returns or raises."""
        future: Future[T] = Future()
        self._tasks.put((task, future))
        return future

    def end(self) -> None:
        """End the thread after what it was given; it is not waited for."""
        self._tasks.put(None)

    def _main(self) -> None:
        while entry := self._tasks.get():
            task, future = entry
            try:
                future.set_result(task())
            except BaseException as error:  # noqa: BLE001 - it belongs to whoever gave the task
                future.set_exception(error)
