"""Continuous batching: one thread owns the context and evaluates, step by step, what all requests need next.

`admission` and `cells` decide who runs, `composing` what a step evaluates for them, `context` executes it, `drawing`
makes answers of it. Requests and aborts come in by mail, events leave once per step.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from backends.base import CapacityError, EngineClosedError, EngineError
from backends.llama_cpp.admission import Admission
from backends.llama_cpp.cells import KVCells
from backends.llama_cpp.composing import Composer
from backends.llama_cpp.context import Context
from backends.llama_cpp.drawing import Drawing
from backends.llama_cpp.job import Choice, Job
from backends.llama_cpp.native_thread import NativeThread
from backends.llama_cpp.plan import StepCost
from backends.types import Accepted, Event, FinishReason

log = logging.getLogger(__name__)

Parcel = tuple[Job, Event | EngineError | None]
"""Something for a job's reader: an event, the error that ended it, or `None` after its last event."""

STEPS_PER_ADAPTER = 8
"""Steps before requests with another adapter have their turn: each change makes llama.cpp plan its computation anew."""

_CLOSED = "the engine was closed"
_DROPPED = "speculative work gave way to a request that somebody waits for"


class Scheduler:
    """Runs jobs on one context. `submit`, `abort` and `close` may be called from any thread."""

    def __init__(
        self,
        context: Context,
        cells: KVCells,
        drawing: Drawing,
        *,
        prepare: Callable[[Context], StepCost],
        deliver: Callable[[list[Parcel]], None],
    ) -> None:
        """`prepare` comes first on the scheduler's thread; `deliver` gets each step's events at once, there."""
        self._context = context
        self._cells = cells
        self._drawing = drawing
        self._prepare = prepare
        self._composer: Composer
        self._deliver = deliver
        self._admission = Admission(cells)
        self._running: list[Job] = []
        self._adapter: str | None = None
        self._steps_left = STEPS_PER_ADAPTER
        self._failed: dict[Job, EngineError] = {}
        self._outbox: list[Parcel] = []
        self._mail: list[Callable[[], None]] = []
        self._wake = threading.Condition()
        self._closed = False
        self._count: Counter[str] = Counter()
        self._busy_s = self._decode_s = 0.0
        self._ended: Future[None] | None = None

    def start(self, thread: NativeThread) -> None:
        """Take over the thread that has loaded the model and prepare it; raises what `prepare` raises."""
        cost = thread.submit(lambda: self._prepare(self._context)).result()
        self._composer = Composer(self._context, cost)
        self._ended = thread.submit(self._main)

    def submit(self, job: Job) -> None:
        """Queue a job; its first event comes when its KV cells are reserved.

        Raises:
            EngineClosedError: after `close`.
        """
        if not self._post(lambda: self._admission.add(job)):
            raise EngineClosedError(_CLOSED)

    def abort(self, job: Job) -> None:
        """End a job before the next step; nothing more is delivered for it. Harmless for a job that has ended."""
        self._post(lambda: self._drop(job))

    def close(self) -> None:
        """Leave the thread after its step; open jobs end with `EngineClosedError`. Harmless when called twice."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        if self._ended:
            self._ended.result()

    def stats(self) -> dict[str, Any]:
        """Gauges and counters of this moment; `busy_s` are the seconds of all steps, `decode_s` those in llama.cpp."""
        counted = ("prompt_tokens_evaluated", "prompt_tokens_cached", "tokens_generated", "tokens_drafted")
        return {
            "running": len(self._running),
            "waiting": len(self._admission),
            "kv_cells": self._cells.shape.cells,
            "kv_cells_reserved": self._cells.reserved,
            "kv_cells_cached": self._cells.cached,
            "prefix_tokens_stored": self._cells.stored,
            **{name: self._count[name] for name in (*counted, "drafts_accepted", "steps")},
            "busy_s": self._busy_s,
            "decode_s": self._decode_s,
        }

    def _post(self, letter: Callable[[], None]) -> bool:
        """Whether somebody will read the letter."""
        with self._wake:
            if not self._closed:
                self._mail.append(letter)
                self._wake.notify()
            return not self._closed

    def _main(self) -> None:
        try:
            self._run()
        finally:
            if not self._closed:
                # Nobody foresaw this, so nothing here can be trusted: the edge reports it and starts a fresh worker.
                log.critical("the scheduler failed", exc_info=True)
                os._exit(os.EX_SOFTWARE)

    def _run(self) -> None:
        while self._read_mail():
            started = time.monotonic()
            self._admit()
            if self._running:
                self._cells.settle()
            self._step()
            self._flush()
            self._busy_s += time.monotonic() - started
        self._fail_all(EngineClosedError(_CLOSED))
        self._flush()

    def _read_mail(self) -> bool:
        """Act on what came in since the last step; sleep while there is nothing to do. False: the end."""
        with self._wake:
            while not (self._mail or self._running or self._admission or self._closed):
                self._wake.wait()
            mail, self._mail = self._mail, []
            closed = self._closed  # under the lock: no mail comes after it
        for letter in mail:
            letter()
        return not closed

    def _admit(self) -> None:
        """Start what may start; speculative work makes room for a request that has none."""
        while True:
            if job := self._admission.next(self._running):
                self._start_job(job)
            elif self._admission.short_of_room and (victims := [job for job in self._running if job.speculative]):
                self._release(victims[-1])
                self._outbox.append((victims[-1], CapacityError(_DROPPED)))
            else:
                return

    def _start_job(self, job: Job) -> None:
        job.sequences, job.cached = self._cells.admit(job.claim)
        job.filled, job.admitted_s = job.cached, time.monotonic()
        job.promised = job.unfilled + job.request.n * job.max_new
        job.choices = [self._drawing.choice(job, index) for index in range(job.request.n)]
        self._count["prompt_tokens_cached"] += job.cached
        self._running.append(job)
        self._outbox.append((job, Accepted(prompt_tokens=len(job.prompt), cached_tokens=job.cached)))

    def _step(self) -> None:
        step = self._composer.compose(self._turn())
        if step.empty:
            return
        started = time.monotonic()
        try:
            self._context.decode()
        except EngineError as error:
            self._fail_all(error)
            return
        elapsed = time.monotonic() - started
        self._composer.observe(step, elapsed)
        self._decode_s += elapsed
        self._count["steps"] += 1
        for decode in step.decoding:
            self._advance(*decode)
        for prefill in step.prefilling:
            self._advance_prompt(*prefill)
        self._fail_some()

    def _turn(self) -> list[Job]:
        """The jobs of the next step: those of one adapter, in turns; speculative ones only when there are no others."""
        jobs = [job for job in self._running if not job.speculative] or self._running
        adapters = list(dict.fromkeys(job.request.adapter for job in jobs))
        self._steps_left -= 1
        if adapters and (self._adapter not in adapters or self._steps_left <= 0):
            at = adapters.index(self._adapter) + 1 if self._adapter in adapters else 0
            self._adapter = adapters[at % len(adapters)]
            self._steps_left = STEPS_PER_ADAPTER
            self._context.use_adapter(self._adapter)
        return [job for job in jobs if job.request.adapter == self._adapter]

    def _advance_prompt(self, job: Job, tokens: list[int], row: int) -> None:
        """The tokens have been evaluated."""
        self._drawing.note_prompt(job, tokens, row)
        self._evaluated(job, job.sequences[0], tokens)
        job.filled += len(tokens)
        self._count["prompt_tokens_evaluated"] += len(tokens)
        if not job.unfilled:
            self._begin_answers(job, row)

    def _begin_answers(self, job: Job, row: int) -> None:
        """The prompt is evaluated: every choice starts from its last row, on cells that all of them share."""
        job.first_token_s = time.monotonic()
        first, *others = job.sequences
        for sequence in others:
            self._cells.fork(job.claim.key, first, sequence)
        job.running = list(job.choices)
        for choice in job.choices:
            self._outbox += ((job, delta) for delta in self._drawing.echo(job, choice))
            if job.max_new:
                self._take(job, choice, [], self._draw(job, choice, row))
            else:
                self._take(job, choice, [], "length")

    def _advance(self, job: Job, choice: Choice, row: int) -> None:
        """Draw from the choice's rows, on from each draft that was right."""
        evaluated = [choice.last]
        finish: FinishReason | None = None
        for at, guess in enumerate((*choice.draft, None)):
            finish = self._draw(job, choice, row + at)
            if finish or job in self._failed or choice.last != guess:
                break
            evaluated.append(choice.last)
        self._take(job, choice, evaluated, finish)

    def _take(self, job: Job, choice: Choice, evaluated: list[int], finish: FinishReason | None) -> None:
        """Book tokens of the choice that are in the cache now, and send what is certain."""
        self._evaluated(job, choice.sequence, evaluated)
        choice.evaluated += len(evaluated)
        if choice.draft and len(evaluated) <= len(choice.draft):
            self._context.trim(choice.sequence, job.position(choice))
        if choice.drafter and choice.generated:
            choice.drafter.extend([*evaluated[1:], choice.last])
            self._observe_draft(choice, len(evaluated) - 1)
        if delta := self._drawing.delta(job, choice, finish):
            self._outbox.append((job, delta))
        if finish:
            self._end_choice(job, choice)

    def _draw(self, job: Job, choice: Choice, row: int) -> FinishReason | None:
        try:
            finish = self._drawing.draw(job, choice, row)
        except EngineError as error:
            self._failed[job] = error  # it ends with the step: until then all that was evaluated has to be booked
            return None
        self._count["tokens_generated"] += 1
        return finish

    def _observe_draft(self, choice: Choice, accepted: int) -> None:
        if choice.draft and choice.drafter:
            choice.drafter.observe(len(choice.draft), accepted)
            self._count["tokens_drafted"] += len(choice.draft)
            self._count["drafts_accepted"] += accepted

    def _evaluated(self, job: Job, sequence: int, tokens: list[int]) -> None:
        self._cells.extend(sequence, tokens)
        job.promised -= len(tokens)

    def _end_choice(self, job: Job, choice: Choice) -> None:
        job.running.remove(choice)
        job.sequences.remove(choice.sequence)
        unused = job.max_new - choice.evaluated
        job.promised -= unused
        self._cells.release([choice.sequence], unused)
        if not job.running:
            self._running.remove(job)
            self._outbox.append((job, None))

    def _drop(self, job: Job) -> None:
        if job in self._running:
            self._release(job)
        else:
            self._admission.remove(job)

    def _release(self, job: Job) -> None:
        """End a running job; what it has evaluated stays cached."""
        self._running.remove(job)
        self._cells.release(job.sequences, job.promised)
        job.sequences = []

    def _fail_some(self) -> None:
        """End the jobs for which no token could be drawn in this step."""
        for job, error in self._failed.items():
            self._release(job)
            self._outbox.append((job, error))
        self._failed.clear()

    def _fail_all(self, error: EngineError) -> None:
        """End every job and start with an empty cache, since a failed decode leaves it in doubt."""
        self._outbox.extend((job, error) for job in (*self._running, *self._admission.clear()))
        for job in self._running:
            job.sequences = []  # nobody follows it any more
        self._running.clear()
        self._cells.clear()
        self._context.forget_all()

    def _flush(self) -> None:
        if self._outbox:
            outbox, self._outbox = self._outbox, []
            self._deliver(outbox)
