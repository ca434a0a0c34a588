"""What one step evaluates: a token of every running choice, and as much of the prompts as `plan` finds right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from backends.llama_cpp.context import Context
from backends.llama_cpp.job import Choice, Job
from backends.llama_cpp.plan import SMALLEST_PURE_CHUNK, StepCost, Waiting, share_out

SCORED_AT_ONCE = 32
"""Tokens of a prompt whose log-probabilities are wanted, per step. Always as many, where nothing else runs: flash
attention rounds differently for chunks of another size, and scores should not depend on the speed of the machine."""


class Decoding(NamedTuple):
    """A running choice in a step, and the batch row of its `last` token; its drafts are in the rows that follow."""

    job: Job
    choice: Choice
    row: int


class Prefilling(NamedTuple):
    """A stretch of a prompt in a step, and the batch row of its last token."""

    job: Job
    tokens: list[int]
    row: int


class Step(NamedTuple):
    """What the context's batch holds: rows of running choices, drafts included, and rows of prompts."""

    decoding: Sequence[Decoding]
    prefilling: Sequence[Prefilling]
    decodes: int
    prompt_tokens: int

    @property
    def depth(self) -> int:
        """Tokens that precede the prompts' stretches, on average over their tokens."""
        before = sum(len(stretch.tokens) * stretch.job.filled for stretch in self.prefilling)
        return before // max(1, self.prompt_tokens)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to evaluate."""
        return not (self.decoding or self.prefilling)


class Composer:
    """Fills the context's batch, step by step, and learns from what steps cost."""

    def __init__(self, context: Context, cost: StepCost) -> None:
        """`cost` is what is known of the context's steps so far."""
        self._context = context
        self._cost = cost
        self._decoded = False
        self._resting: tuple[int, Waiting] | None = None
        self._due_s = 0.0

    def compose(self, jobs: Sequence[Job]) -> Step:
        """The next step of these jobs, in order of arrival. The batch holds it afterwards."""
        batch = self._context.batch
        batch.clear()
        unfilled = [job for job in jobs if job.unfilled]
        # Recurrent memories take rows together only in the order of their sequences.
        running = sorted(((job, choice) for job in jobs for choice in job.running), key=lambda pair: pair[1].sequence)
        waiting = _waiting(unfilled)
        alone = self._cost.prompts_alone(len(running), batch.capacity, waiting)
        if alone and self._decoded and (self._due_s <= 0 or self._cost.is_short(waiting)):
            self._decoded, self._resting = False, (len(running), waiting)
            return Step([], self._add_prefills(unfilled, alone), 0, batch.rows)
        decoding = self._add_decodes(running, sum(map(_outputs, unfilled)))
        decodes = batch.rows
        allowance = 0 if alone else self._cost.prefill_allowance(decodes, batch.capacity, waiting)
        prefilling = self._add_prefills(unfilled, allowance)
        self._decoded, self._resting = bool(decoding), None
        return Step(decoding, prefilling, decodes, batch.rows - decodes)

    def observe(self, step: Step, seconds: float) -> None:
        """Hear how long the evaluation of a step took."""
        self._cost.observe(step.decodes, step.prompt_tokens, seconds, step.depth)
        if step.decodes:
            self._due_s -= seconds
        else:
            self._due_s = self._cost.decodes_due(seconds, *self._resting) if self._resting else 0.0

    def _add_decodes(self, running: Sequence[tuple[Job, Choice]], reserved: int) -> list[Decoding]:
        """One token of every choice, and then the drafts, as far as there are outputs; prompts have some `reserved`."""
        batch = self._context.batch
        spare = min(self._context.outputs, batch.capacity) - len(running) - reserved
        decoding = []
        for job, choice in running:
            choice.draft = []
            if choice.drafter:
                # Neither more than may still come, nor more than one's share of what a step can carry.
                most = min(job.max_new - choice.generated - 1, spare // len(running))
                choice.draft = choice.drafter.draft(most) if most > 0 else []
            tokens = [choice.last, *choice.draft]
            last_row = batch.add(choice.sequence, job.position(choice), tokens, output=len(tokens))
            decoding.append(Decoding(job, choice, last_row - len(choice.draft)))
        return decoding

    def _add_prefills(self, unfilled: Sequence[Job], allowance: int) -> list[Prefilling]:
        """So many tokens of the prompts, in order, beside what is in the batch."""
        batch = self._context.batch
        outputs = self._context.outputs - batch.rows
        wanted = list(map(_wanted, unfilled))
        has_room = not batch.rows and allowance + SMALLEST_PURE_CHUNK <= batch.capacity
        rest = SMALLEST_PURE_CHUNK - 1 if has_room else 0
        prefilling = []
        for job, share in zip(unfilled, share_out(wanted, allowance, rest=rest), strict=True):
            share = min(share, outputs) if job.every_output else share
            rows = share if job.every_output else int(share == job.unfilled)
            if not share or rows > outputs:
                continue
            outputs -= rows
            tokens = job.prompt[job.filled : job.filled + share]
            prefilling.append(Prefilling(job, tokens, batch.add(job.sequences[0], job.filled, tokens, output=rows)))
        return prefilling


def _waiting(unfilled: Sequence[Job]) -> Waiting:
    if not unfilled:
        return Waiting()
    oldest = unfilled[0]
    return Waiting(
        prompts=len(unfilled),
        tokens=sum(map(_wanted, unfilled)),
        oldest=len(oldest.prompt) - oldest.cached,
        cached=oldest.cached,
        filled=oldest.filled,
        speculative=oldest.speculative,
    )


def _wanted(job: Job) -> int:
    """Tokens of the job's prompt that a step may take at most."""
    return min(job.unfilled, SCORED_AT_ONCE) if job.every_output else job.unfilled


def _outputs(job: Job) -> int:
    """Rows of logits that a step may need for the job's prompt."""
    return SCORED_AT_ONCE if job.every_output else 1
