"""What a step evaluates, on a batch that only counts: nobody is left out for long, and no limit is exceeded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.llama_cpp.composing import SCORED_AT_ONCE, Composer, Step
from backends.llama_cpp.job import Choice, Job
from backends.llama_cpp.plan import STEPS_BETWEEN, TILE, StepCost
from backends.types import GenerationRequest, SamplingParams

CAPACITY, OUTPUTS = 512, 96
DECODE_S, TOKEN_S = 0.1, 0.01


@dataclass
class CountingBatch:
    capacity: int = CAPACITY
    rows: int = 0
    outputs: int = 0

    def clear(self) -> None:
        self.rows = self.outputs = 0

    def add(self, sequence: int, position: int, tokens: Sequence[int], *, output: int) -> int:
        del sequence, position
        self.rows += len(tokens)
        self.outputs += output
        return self.rows - 1


@dataclass
class CountingContext:
    batch: CountingBatch = field(default_factory=CountingBatch)
    outputs: int = OUTPUTS


class EagerDrafter:
    def draft(self, most: int) -> list[int]:
        return [0] * min(most, 16)


def composer(*, tiled: bool = True) -> tuple[Composer, CountingContext]:
    cost = StepCost(tiled=tiled)
    cost.observe(1, 0, DECODE_S)
    cost.observe(0, 64, 64 * TOKEN_S)
    context = CountingContext()
    return Composer(cast(Any, context), cost), context


def job(sequence: int, prompt: int = 0, *, drafts: bool = False, scored: bool = False) -> Job:
    """A job whose prompt has so many tokens; without any, one that decodes."""
    request = GenerationRequest(id="", prompt_logprobs=0 if scored else None)
    made = Job(request, [1] * max(prompt, 1), SamplingParams(), (), frozenset(), max_new=1000, sequences=[sequence])
    if not prompt:
        made.filled = 1
        drafter = cast(Any, EagerDrafter() if drafts else None)
        made.running = [Choice(0, sequence, cast(Any, None), cast(Any, None), drafter=drafter)]
    return made


def evaluate(composer: Composer, jobs: Sequence[Job]) -> Step:
    """Compose a step and book it, as the scheduler does."""
    step = composer.compose(jobs)
    composer.observe(step, DECODE_S * bool(step.decodes) + TOKEN_S * step.prompt_tokens)
    for prefill in step.prefilling:
        prefill.job.filled += len(prefill.tokens)
    return step


def test_a_prompt_that_fills_a_tile_and_the_decodes_take_turns() -> None:
    made, _ = composer()
    jobs = [job(0), job(1, prompt=120), job(2, prompt=120)]
    steps = [evaluate(made, jobs) for _ in range(5)]
    assert [step.decodes for step in steps] == [1, 0, 1, 0, 1]
    assert [step.prompt_tokens for step in steps] == [0, 128, 0, 112, 0]


def test_where_attention_is_not_tiled_they_share_a_step() -> None:
    made, _ = composer(tiled=False)
    step = evaluate(made, [job(0), job(1, prompt=120)])
    assert (step.decodes, step.prompt_tokens) == (1, 120)


def test_prompts_that_are_scored_stay_beside_decodes_since_they_fill_no_tile() -> None:
    made, _ = composer()
    jobs = [job(0), job(1, prompt=120, scored=True)]
    steps = [evaluate(made, jobs) for _ in range(3)]
    assert all(step.decodes == 1 for step in steps)
    assert {step.prompt_tokens for step in steps} == {SCORED_AT_ONCE}


def test_a_long_prompt_and_the_streams_take_turns_in_time() -> None:
    made, _ = composer()
    jobs = [job(0), job(1, prompt=5000)]
    steps = [evaluate(made, jobs) for _ in range(4 * STEPS_BETWEEN)]
    pauses = [at for at, step in enumerate(steps) if not step.decodes]
    assert {steps[at].prompt_tokens for at in pauses} == {256}
    assert {later - earlier for earlier, later in pairwise(pauses)} == {STEPS_BETWEEN + 1}


def test_a_short_prompt_does_not_wait_for_what_a_long_one_owes_the_streams() -> None:
    made, _ = composer()
    running, long, short = job(0), job(1, prompt=5000), job(2, prompt=120)
    while evaluate(made, [running, long]).decodes:
        pass
    evaluate(made, [running, short])
    assert evaluate(made, [running, short]).prompt_tokens == 120


def test_where_many_long_prompts_wait_they_get_more() -> None:
    made, _ = composer()
    jobs = [job(0), *(job(at, prompt=5000) for at in range(1, 9))]
    steps = [evaluate(made, jobs) for _ in range(30)]
    assert sum(not step.decodes for step in steps) > 5


def test_where_attention_is_not_tiled_a_long_prompt_gets_a_little_of_every_step() -> None:
    made, _ = composer(tiled=False)
    jobs = [job(0), job(1, prompt=5000)]
    steps = [evaluate(made, jobs) for _ in range(4)]
    assert all(step.decodes == 1 and 0 < step.prompt_tokens < TILE for step in steps)


def test_nothing_to_do_is_an_empty_step() -> None:
    made, _ = composer()
    assert made.compose([]).empty


shapes = st.lists(
    st.tuples(st.one_of(st.just(0), st.integers(1, 3000)), st.booleans(), st.booleans()), min_size=1, max_size=12
)


@pytest.mark.parametrize("tiled", [False, True])
@settings(deadline=None)
@given(shapes)
def test_everybody_gets_on_and_no_limit_is_exceeded(tiled: bool, shapes: list[tuple[int, bool, bool]]) -> None:
    made, context = composer(tiled=tiled)
    jobs = [job(at, prompt, drafts=drafts, scored=scored) for at, (prompt, drafts, scored) in enumerate(shapes)]
    decoding = [running for running in jobs if running.running]
    for _ in range(2):
        oldest = next((waiting for waiting in jobs if waiting.unfilled), None)
        before = oldest.filled if oldest else 0
        steps = []
        for _ in range(STEPS_BETWEEN + 4):
            steps.append(evaluate(made, jobs))
            assert context.batch.rows <= CAPACITY
            assert context.batch.outputs <= OUTPUTS
        for pair in pairwise(steps):
            assert all(any(job in [at.job for at in step.decoding] for step in pair) for job in decoding)
        assert oldest is None or oldest.filled > before
