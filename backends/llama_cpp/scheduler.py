"""Continuous batching: one thread owns the context and evaluates, step by step, what all requests need next.

Each step decodes one token for every running choice; what is left of the step's time budget goes to prompts in order of
arrival (`plan` decides, `context` executes and owns the memory). Requests and aborts come in by mail, events leave once
per step.
"""

from __future__ import annotations

import bisect
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from msgspec import structs

from backends.base import EngineClosedError, EngineError
from backends.llama_cpp.context import Context
from backends.llama_cpp.job import Choice, Job
from backends.llama_cpp.plan import CellBudget, StepCost, share_out
from backends.llama_cpp.sampling import Sampler, suppress
from backends.llama_cpp.text import TextStream
from backends.llama_cpp.vocab import Vocabulary
from backends.types import Accepted, Delta, Event, FinishReason

log = logging.getLogger(__name__)

Parcel = tuple[Job, Event | EngineError | None]
"""Something for a job's reader: an event, the error that ended it, or `None` after its last event."""

_CLOSED = "the engine was closed"


class Scheduler:
    """Runs jobs on one context. `submit`, `abort` and `close` may be called from any thread."""

    def __init__(
        self,
        context: Context,
        vocab: Vocabulary,
        *,
        cells: CellBudget,
        cost: StepCost,
        deliver: Callable[[list[Parcel]], None],
    ) -> None:
        """`deliver` gets each step's events at once, on the scheduler's thread."""
        self._context = context
        self._vocab = vocab
        self._deliver = deliver
        self._cost = cost
        self._cells = cells
        self._waiting: list[Job] = []
        self._running: list[Job] = []
        self._outbox: list[Parcel] = []
        self._mail: list[Callable[[], None]] = []
        self._wake = threading.Condition()
        self._closed = False
        self._submitted = self._generated = self._evaluated = 0
        self._thread = threading.Thread(target=self._main, name="llama.cpp-scheduler", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Queue a job; its first event comes when its KV cells are reserved.

        Raises:
            EngineClosedError: after `close`.
        """
        if not self._post(lambda: self._enqueue(job)):
            raise EngineClosedError(_CLOSED)

    def abort(self, job: Job) -> None:
        """End a job before the next step; nothing more is delivered for it. Harmless for a job that has ended."""
        self._post(lambda: self._drop(job))

    def close(self) -> None:
        """End the thread after its step; open jobs end with `EngineClosedError`. Harmless when called twice."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._thread.join()

    def stats(self) -> dict[str, Any]:
        """Gauges and counters of this moment."""
        return {
            "running": len(self._running),
            "waiting": len(self._waiting),
            "kv_cells": self._cells.total,
            "kv_cells_reserved": self._cells.total - self._cells.free,
            "prompt_tokens_evaluated": self._evaluated,
            "tokens_generated": self._generated,
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
            self._admit()
            self._step()
            self._flush()
        self._fail_all(EngineClosedError(_CLOSED))
        self._flush()

    def _read_mail(self) -> bool:
        """Act on what came in since the last step; sleep while there is nothing to do. False: the end."""
        with self._wake:
            while not (self._mail or self._running or self._waiting or self._closed):
                self._wake.wait()
            mail, self._mail = self._mail, []
            closed = self._closed  # under the lock: no mail comes after it
        for letter in mail:
            letter()
        return not closed

    def _enqueue(self, job: Job) -> None:
        self._submitted += 1
        job.number = self._submitted
        bisect.insort(self._waiting, job, key=lambda other: (-other.request.priority, other.number))

    def _admit(self) -> None:
        """Give sequences and cells to waiting jobs, strictly in order, so that a large one is not passed for ever."""
        while self._waiting and self._cells.can_reserve(self._waiting[0].cells_needed, self._waiting[0].request.n):
            job = self._waiting.pop(0)
            job.cells, job.admitted_s = job.cells_needed, time.monotonic()
            sequences = self._cells.reserve(job.cells, job.request.n)
            job.choices = [self._choice(job, index, sequence) for index, sequence in enumerate(sequences)]
            self._running.append(job)
            self._outbox.append((job, Accepted(prompt_tokens=len(job.prompt))))

    def _choice(self, job: Job, index: int, sequence: int) -> Choice:
        stopping = job.request.stopping
        banned = self._vocab.end_of_generation if stopping.ignore_eos else ()
        sampler = Sampler(job.sampling, self._vocab, choice=index, banned=banned)
        sampler.see(job.prompt)
        return Choice(index, sequence, sampler, TextStream(job.stops, include_stop=stopping.include_stop))

    def _step(self) -> None:
        prefills = self._plan_prefills()
        decoding, prefilling = self._fill_batch(prefills)
        if not (decoding or prefilling):
            return
        started = time.monotonic()
        try:
            self._context.decode()
        except EngineError as error:
            self._fail_all(error)
            return
        self._cost.observe(len(decoding), sum(prefills.values()), time.monotonic() - started)
        self._advance(decoding, prefilling)

    def _plan_prefills(self) -> dict[Job, int]:
        """How many prompt tokens of which job the next step evaluates."""
        unfilled = [job for job in self._running if job.unfilled]
        if not unfilled:
            return {}
        decodes = sum(len(job.running) for job in self._running)
        allowance = self._cost.prefill_allowance(decodes, self._context.batch.capacity)
        shares = share_out([job.unfilled for job in unfilled], allowance)
        return {job: share for job, share in zip(unfilled, shares, strict=True) if share}

    def _fill_batch(self, prefills: dict[Job, int]) -> tuple[list[tuple[Job, Choice, int]], list[tuple[Job, int]]]:
        """Write the step's rows. Returns the last row of each running choice and of each prompt that it touches."""
        batch = self._context.batch
        batch.clear()
        decoding = [
            (job, choice, batch.add(choice.sequence, job.position(choice), (choice.last,), output=True))
            for job in self._running
            for choice in job.running
        ]
        prefilling = []
        for job, share in prefills.items():
            tokens = job.prompt[job.filled : job.filled + share]
            row = batch.add(job.choices[0].sequence, job.filled, tokens, output=share == job.unfilled)
            prefilling.append((job, row))
            job.filled += share
            self._evaluated += share
        return decoding, prefilling

    def _advance(self, decoding: Sequence[tuple[Job, Choice, int]], prefilling: Sequence[tuple[Job, int]]) -> None:
        """Draw the next token of every choice that has logits now."""
        for job, choice, row in decoding:
            self._draw(job, choice, row)
        for job, row in prefilling:
            if not job.unfilled:
                self._begin_answers(job, row)
        for job in [job for job in self._running if job.choices and not (job.unfilled or job.running)]:
            self._release(job)
            self._outbox.append((job, None))

    def _begin_answers(self, job: Job, row: int) -> None:
        """The prompt is evaluated: every choice starts from its last row, on cells that all of them share."""
        job.first_token_s = time.monotonic()
        first, *others = job.choices
        for choice in others:
            self._context.share_prefix(first.sequence, choice.sequence)
        if not job.max_new:
            for choice in job.choices:
                self._outbox.append((job, self._last_delta(job, choice, Delta(index=choice.index), "length")))
            return
        job.running = list(job.choices)
        for choice in job.choices:
            self._draw(job, choice, row)

    def _draw(self, job: Job, choice: Choice, row: int) -> None:
        early = choice.generated < job.request.stopping.min_tokens
        if early:
            suppress(self._context.handle, row, job.end_tokens)
        token = choice.sampler.sample(self._context.handle, row)
        choice.last = token
        choice.generated += 1
        choice.unsent.append(token)
        self._generated += 1
        text = choice.text.feed(self._text_of(job, token), watch=not early)
        finish = job.finish_reason(choice, token)
        if finish:
            text += choice.text.flush()
            job.running.remove(choice)
        if not (text or finish):
            return
        delta = Delta(index=choice.index, text=text, token_ids=tuple(choice.unsent))
        choice.unsent.clear()
        self._outbox.append((job, self._last_delta(job, choice, delta, finish) if finish else delta))

    def _text_of(self, job: Job, token: int) -> bytes:
        request = job.request
        if token in job.end_tokens and not (request.stopping.include_stop and token in request.stopping.stop_token_ids):
            return b""
        return self._vocab.piece(token) if request.skip_special_tokens else self._vocab.control_text(token)

    def _last_delta(self, job: Job, choice: Choice, delta: Delta, reason: FinishReason) -> Delta:
        return structs.replace(delta, finish_reason=reason, usage=job.usage(choice), timings=job.timings())

    def _drop(self, job: Job) -> None:
        if job in self._running:
            self._release(job)
        elif job in self._waiting:
            self._waiting.remove(job)

    def _release(self, job: Job) -> None:
        self._running.remove(job)
        for choice in job.choices:
            self._context.forget(choice.sequence)
            choice.sampler.close()
        self._cells.release(job.cells, [choice.sequence for choice in job.choices])

    def _fail_all(self, error: EngineError) -> None:
        """End every job and start with an empty cache, since a failed decode leaves it in doubt."""
        for job in list(self._running):
            self._release(job)
            self._outbox.append((job, error))
        self._outbox.extend((job, error) for job in self._waiting)
        self._waiting.clear()
        self._context.forget_all()

    def _flush(self) -> None:
        if self._outbox:
            outbox, self._outbox = self._outbox, []
            self._deliver(outbox)
