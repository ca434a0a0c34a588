"""Who starts next: waiting requests in order, except that some wait for a prompt that another is just evaluating."""

from __future__ import annotations

import bisect
from collections.abc import Sequence

from backends.llama_cpp.cells import KVCells
from backends.llama_cpp.job import Job
from backends.llama_cpp.prefix import shared_length

WORTH_WAITING = 16
"""Tokens that a request must save to wait for another's prompt; each costs one evaluation less."""


class Admission:
    """The queue in front of the KV cells. Strictly first come, first served, by priority.

    A request that cannot start keeps all behind it waiting, so that a large one is not passed for ever. Only followers
    are passed: they wait until their leader has evaluated what both prompts begin with, which is never longer than they
    would take for it themselves.
    """

    def __init__(self, cells: KVCells) -> None:
        self._cells = cells
        self._waiting: list[Job] = []
        self._leaders: dict[Job, tuple[Job, int]] = {}
        self._submitted = 0
        self.short_of_room = False
        """Whether the last `next` found a request that waits for cells or sequences."""

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, job: Job) -> None:
        """Queue a job behind all of its priority."""
        self._submitted += 1
        job.number = self._submitted
        bisect.insort(self._waiting, job, key=lambda other: (-other.request.priority, other.number))

    def remove(self, job: Job) -> bool:
        """Take a job out; false if it is not here."""
        if job not in self._waiting:
            return False
        self._waiting.remove(job)
        self._leaders.pop(job, None)
        return True

    def clear(self) -> list[Job]:
        """Take all jobs out."""
        waiting, self._waiting = self._waiting, []
        self._leaders.clear()
        return waiting

    def next(self, running: Sequence[Job]) -> Job | None:
        """Take out the job that may start now, if there is one."""
        self.short_of_room = False
        for job in self._waiting:
            if job.speculative and any(not other.speculative for other in (*running, self._waiting[0])):
                return None
            if self._follows(job, running):
                continue
            if not self._cells.fits(job.claim):
                self.short_of_room = not job.speculative
                return None
            self.remove(job)
            return job
        return None

    def _follows(self, job: Job, running: Sequence[Job]) -> bool:
        """Whether the job gains by waiting for one that evaluates the beginning of its prompt at the moment."""
        leader, until = self._leaders.pop(job, (job, 0))
        if not (leader.sequences and leader.filled < until):
            leader, until = self._leader(job, running) or (job, 0)
        if leader is job:
            return False
        self._leaders[job] = leader, until
        return True

    def _leader(self, job: Job, running: Sequence[Job]) -> tuple[Job, int] | None:
        """The running job that will share most of the prompt, and how much."""
        claim = job.claim
        if not (claim.reuse and self._cells.shape.shares):
            return None
        found = []
        for other in running:
            if other.unfilled and not other.every_output and other.speculative <= job.speculative:
                shared = shared_length(other.prompt, claim.prompt[:-1]) if other.claim.key == claim.key else 0
                if shared >= other.filled + WORTH_WAITING:
                    found.append((other, shared))
        best, most = max(found, key=lambda pair: pair[1], default=(job, 0))
        return (best, most) if found and most >= self._cells.cached_length(claim) + WORTH_WAITING else None
