"""What an embedding model has to do: calls in order, inputs of all of them in shared batches, one thread that computes.

Every call gets one input into a batch in turn, so that a call with two thousand inputs does not make one with a single
input wait for all of them.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from backends.base import EngineClosedError, EngineError
from backends.llama_cpp.native_thread import NativeThread

log = logging.getLogger(__name__)

Vector = NDArray[np.float32]


class Embeds(Protocol):
    """What computes: `backends.llama_cpp.embedding_context.EmbeddingContext`."""

    n_batch: int

    def embed(self, inputs: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """The vectors of inputs that have `n_batch` tokens together, or of one; a row each."""
        ...


@dataclass(eq=False, slots=True)
class Call:
    """Some inputs, as token ids, that somebody waits for. `vectors` are complete when the call is delivered."""

    inputs: Sequence[Sequence[int]]
    vectors: dict[int, Vector] = field(default_factory=dict)
    taken: int = 0


Outcome = tuple[Call, EngineError | None]
"""A call that has all of its vectors, or the error that ended it."""


def next_batch(waiting: deque[Call], tokens: int, inputs: int) -> list[tuple[Call, int]]:
    """Take up to `inputs` inputs with up to `tokens` tokens together, each as its call and its number in it.

    Calls give one input each in turn, and leave `waiting` with their last. The input whose turn it is when there is no
    room for it begins the next batch; one that is longer than `tokens` is a batch of its own.
    """
    batch: list[tuple[Call, int]] = []
    while waiting and len(batch) < inputs:
        call = waiting[0]
        size = len(call.inputs[call.taken])
        if batch and size > tokens:
            break
        batch.append((call, call.taken))
        tokens -= size
        call.taken += 1
        waiting.popleft()
        if call.taken < len(call.inputs):
            waiting.append(call)
    return batch


class EmbeddingQueue:
    """Computes the vectors of calls, on a thread that owns the context; all methods may be called from any thread."""

    def __init__(self, context: Embeds, *, most_inputs: int, deliver: Callable[[list[Outcome]], None]) -> None:
        """A batch holds up to `most_inputs` inputs. `deliver` gets what a batch completed, on the queue's thread."""
        self._context = context
        self._most_inputs = most_inputs
        self._deliver = deliver
        self._waiting: deque[Call] = deque()
        self._running: list[tuple[Call, int]] = []
        self._wake = threading.Condition()
        self._closed = False
        self._batches = self._inputs = self._tokens = 0
        self._ended: Future[None] | None = None

    def start(self, thread: NativeThread, prepare: Callable[[], None] = lambda: None) -> None:
        """Take over the thread that has loaded the model and prepare it; raises what `prepare` raises."""
        thread.submit(prepare).result()
        self._ended = thread.submit(self._main)

    def submit(self, call: Call) -> None:
        """Queue a call with at least one input, none of them empty.

        Raises:
            EngineClosedError: after `close`.
        """
        with self._wake:
            if self._closed:
                raise EngineClosedError("the engine was closed")
            self._waiting.append(call)
            self._wake.notify()

    def abort(self, call: Call) -> None:
        """Drop the inputs of a call that no batch has taken; harmless for a call that is complete."""
        with self._wake:
            if call in self._waiting:
                self._waiting.remove(call)

    def close(self) -> None:
        """Leave the thread after its batch; open calls end with `EngineClosedError`. Harmless when called twice."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        if self._ended:
            self._ended.result()

    def stats(self) -> dict[str, Any]:
        """Gauges and counters of this moment; calls count as requests."""
        with self._wake:
            running = {id(call) for call, _ in self._running}
            return {
                "running": len(running),
                "waiting": sum(id(call) not in running for call in self._waiting),
                "prompt_tokens_evaluated": self._tokens,
                "tokens_generated": 0,
                "inputs_embedded": self._inputs,
                "batches": self._batches,
            }

    def _main(self) -> None:
        try:
            while batch := self._next_batch():
                self._deliver(self._compute(batch))
            self._deliver(self._leave())
        finally:
            if not self._closed:
                # Nobody foresaw this, so nothing here can be trusted: the edge reports it and starts a fresh worker.
                log.critical("the embedding thread failed", exc_info=True)
                os._exit(os.EX_SOFTWARE)

    def _next_batch(self) -> list[tuple[Call, int]]:
        """The next batch; sleeps while there is nothing to do. Empty: the end."""
        with self._wake:
            self._running = []
            while not (self._waiting or self._closed):
                self._wake.wait()
            if not self._closed:
                self._running = next_batch(self._waiting, self._context.n_batch, self._most_inputs)
            return self._running

    def _compute(self, batch: Sequence[tuple[Call, int]]) -> list[Outcome]:
        """Give every call of the batch its vectors; returns those that need nothing more."""
        inputs = [call.inputs[number] for call, number in batch]
        try:
            vectors = self._context.embed(inputs)
        except EngineError as error:
            calls = {call: None for call, _ in batch}
            for call in calls:
                self.abort(call)
            return [(call, error) for call in calls]
        self._batches += 1
        self._inputs += len(inputs)
        self._tokens += sum(map(len, inputs))
        done: list[Outcome] = []
        for (call, number), vector in zip(batch, vectors, strict=True):
            call.vectors[number] = vector
            if len(call.vectors) == len(call.inputs):
                done.append((call, None))
        return done

    def _leave(self) -> list[Outcome]:
        with self._wake:
            waiting = list(self._waiting)
            self._waiting.clear()
        return [(call, EngineClosedError("the engine was closed")) for call in waiting]
