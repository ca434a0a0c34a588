"""The scheduler where a real model never leads it: a decode that fails, and who comes first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from backends.base import CapacityError, EngineError
from backends.llama_cpp.cells import CacheShape, KVCells
from backends.llama_cpp.context import Context, ContextOptions
from backends.llama_cpp.drawing import Drawing
from backends.llama_cpp.job import Job
from backends.llama_cpp.model import Model
from backends.llama_cpp.native_thread import NativeThread
from backends.llama_cpp.plan import StepCost
from backends.llama_cpp.sampling import resolve, sampling_defaults
from backends.llama_cpp.scheduler import Parcel, Scheduler
from backends.types import PRIORITY_SPECULATIVE, Accepted, Delta, GenerationRequest, LlamaOptions, SamplingParams
from tests.backends.llama_cpp.conftest import BUNDLED_MODEL

PARALLEL = 2


class FragileContext(Context):
    """Fails its next `failures` decodes."""

    failures = 0

    def decode(self) -> None:
        if self.failures:
            self.failures -= 1
            raise EngineError("a decode failed")
        super().decode()


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    model = Model(str(BUNDLED_MODEL), LlamaOptions(), progress=lambda _: None)
    yield model
    model.close()


@asynccontextmanager
async def scheduling(
    model: Model, *jobs: Job, failures: int = 0, kind: type[FragileContext] = FragileContext
) -> AsyncIterator[Scheduler]:
    """A scheduler that found `jobs` in its mail when it started."""
    loop = asyncio.get_running_loop()

    def hand_out(parcels: list[Parcel]) -> None:
        for job, event in parcels:
            job.events.put_nowait(event)

    def deliver(parcels: list[Parcel]) -> None:
        loop.call_soon_threadsafe(hand_out, parcels)

    context = kind(model, ContextOptions(cells=512, sequences=PARALLEL + 4, n_batch=64, n_threads=1))
    context.failures = failures
    cells = KVCells(CacheShape(context.cells, context.sequences, PARALLEL, keep=256), context)
    drawing = Drawing(context, model.vocab)
    scheduler = Scheduler(context, cells, drawing, prepare=lambda _: StepCost(), deliver=deliver)
    for job in jobs:
        scheduler.submit(job)
    thread = NativeThread("scheduler")
    scheduler.start(thread)
    try:
        yield scheduler
    finally:
        await asyncio.to_thread(scheduler.close)
        thread.end()
        context.close()


def job(*, tokens: int = 4, priority: int = 0, prompt: Sequence[int] = (70, 71, 72), salt: str | None = None) -> Job:
    return Job(
        request=GenerationRequest(id="r", priority=priority, cache_salt=salt),
        prompt=list(prompt),
        sampling=resolve(SamplingParams(temperature=0.0), sampling_defaults({})),
        stops=(),
        end_tokens=frozenset(),
        max_new=tokens,
    )


async def outcome(job: Job) -> list[int] | EngineError:
    """The tokens of a job's only choice, or what ended it."""
    tokens: list[int] = []
    while (event := await asyncio.wait_for(job.events.get(), 10)) is not None:
        if isinstance(event, EngineError):
            return event
        tokens += event.token_ids if isinstance(event, Delta) else ()
    return tokens


async def test_a_failed_decode_ends_what_is_there_and_nothing_that_comes_later(model: Model) -> None:
    sound, present, later = job(), [job() for _ in range(PARALLEL + 1)], job()
    async with scheduling(model, sound):
        expected = await outcome(sound)
    async with scheduling(model, *present, failures=1) as scheduler:
        assert [str(await outcome(each)) for each in present] == ["a decode failed"] * len(present)
        scheduler.submit(later)
        assert await outcome(later) == expected
        assert scheduler.stats()["kv_cells_reserved"] == 0


async def test_work_that_nobody_waits_for_yet_comes_last(model: Model) -> None:
    speculative, *asked = job(priority=PRIORITY_SPECULATIVE), job(), job(), job()
    async with scheduling(model, speculative, *asked):
        for each in (speculative, *asked):
            await outcome(each)
    assert speculative.admitted_s > max(each.admitted_s for each in asked)
    assert sorted(asked, key=lambda each: each.admitted_s) == asked


async def test_a_job_is_aborted_while_it_waits_and_while_it_runs(model: Model) -> None:
    running, waiting = [job(tokens=240) for _ in range(PARALLEL)], job()
    async with scheduling(model, *running, waiting) as scheduler:
        assert isinstance(await running[0].events.get(), Accepted)
        for each in (waiting, running[0], running[0]):
            scheduler.abort(each)
        assert isinstance(await outcome(running[1]), list)
        received = [running[0].events.get_nowait() for _ in range(running[0].events.qsize())]
        assert None not in received and waiting.events.empty()
        assert scheduler.stats()["kv_cells_reserved"] == 0


COMMON = list(range(100, 180))


async def test_followers_wait_for_what_another_is_just_evaluating(model: Model) -> None:
    alone, jobs = [job(prompt=[*COMMON, 70 + i]) for i in range(2)], [job(prompt=[*COMMON, 70 + i]) for i in range(2)]
    expected = []
    for each in alone:
        async with scheduling(model, each):
            expected.append(await outcome(each))
    async with scheduling(model, *jobs) as scheduler:
        assert [await outcome(each) for each in jobs] == expected
        assert scheduler.stats()["prompt_tokens_evaluated"] == len(COMMON) + 2
    assert [each.cached for each in jobs] == [0, len(COMMON)]


async def test_nobody_follows_a_prompt_under_another_salt(model: Model) -> None:
    jobs = [job(prompt=[*COMMON, 70], salt=salt) for salt in ("a", "b")]
    async with scheduling(model, *jobs):
        for each in jobs:
            await outcome(each)
    assert [each.cached for each in jobs] == [0, 0]


async def test_a_follower_goes_on_alone_when_its_leader_leaves(model: Model) -> None:
    leader, follower = job(prompt=COMMON * 3), job(prompt=COMMON * 3)
    async with scheduling(model, leader, follower) as scheduler:
        assert isinstance(await leader.events.get(), Accepted)
        scheduler.abort(leader)
        assert isinstance(await outcome(follower), list)
        assert scheduler.stats()["kv_cells_reserved"] == 0


async def test_an_aborted_prompt_leaves_what_it_evaluated(model: Model) -> None:
    first, second = job(prompt=COMMON, tokens=100), job(prompt=COMMON)
    async with scheduling(model, first) as scheduler:
        while not isinstance(await first.events.get(), Delta):
            pass
        scheduler.abort(first)
        scheduler.submit(second)
        await outcome(second)
    assert second.cached == len(COMMON) - 1


async def test_speculative_work_is_dropped_for_a_request_that_needs_its_cells(model: Model) -> None:
    speculative, asked = job(priority=PRIORITY_SPECULATIVE, tokens=300), job(tokens=300)
    async with scheduling(model, speculative) as scheduler:
        assert isinstance(await speculative.events.get(), Accepted)
        scheduler.submit(asked)
        assert isinstance(await outcome(speculative), CapacityError)
        assert isinstance(await outcome(asked), list)


async def test_speculative_work_stands_still_while_somebody_waits(model: Model) -> None:
    speculative, asked = job(priority=PRIORITY_SPECULATIVE, tokens=100), job(tokens=60)
    async with scheduling(model, speculative) as scheduler:
        while not isinstance(await speculative.events.get(), Delta):
            pass
        scheduler.submit(asked)
        assert isinstance(await asked.events.get(), Accepted)
        before = speculative.choices[0].generated
        await outcome(asked)
        assert speculative.choices[0].generated <= before + 1
        assert isinstance(await outcome(speculative), list)


async def test_a_job_that_forbids_every_token_fails_alone_and_others_go_on(model: Model) -> None:
    sound, forbidding = job(tokens=20), job(tokens=20)
    nothing = dict.fromkeys(range(model.vocab.size), -100.0)
    forbidding.sampling = resolve(SamplingParams(temperature=1.0, logit_bias=nothing), sampling_defaults({}))
    async with scheduling(model, sound) as scheduler:
        expected = await outcome(sound)
    sound, later = job(tokens=20), job(tokens=20)
    async with scheduling(model, sound, forbidding) as scheduler:
        assert "no token can come next" in str(await outcome(forbidding))
        assert await outcome(sound) == expected
        scheduler.submit(later)
        assert await outcome(later) == expected
        assert scheduler.stats()["kv_cells_reserved"] == 0


class ForgetfulContext(FragileContext):
    """Its seventh row of logits holds no numbers: with two choices the first one's fourth."""

    rows = 0

    def logits(self, row: int) -> NDArray[np.float32]:
        self.rows += 1
        logits = super().logits(row)
        return np.full_like(logits, np.nan) if self.rows == 7 else logits


async def test_a_choice_that_fails_half_way_ends_its_job_and_leaves_a_sound_cache(model: Model) -> None:
    prompt = [*COMMON, 70]
    failing, later = job(tokens=20, prompt=prompt), job(tokens=20, prompt=prompt)
    failing.request = msgspec.structs.replace(failing.request, n=PARALLEL)
    async with scheduling(model, later) as scheduler:
        expected = await outcome(later)
    later = job(tokens=20, prompt=prompt)
    async with scheduling(model, failing, kind=ForgetfulContext) as scheduler:
        assert isinstance(await outcome(failing), EngineError)
        assert scheduler.stats()["kv_cells_reserved"] == 0
        assert scheduler.stats()["kv_cells_cached"] > len(prompt)
        scheduler.submit(later)
        assert (await outcome(later), later.cached) == (expected, len(prompt) - 1)


async def test_a_follower_looks_for_another_leader_when_its_own_leaves(model: Model) -> None:
    leader, *followers = (job(prompt=COMMON * 3) for _ in range(3))
    async with scheduling(model, leader, *followers) as scheduler:
        assert isinstance(await leader.events.get(), Accepted)
        scheduler.abort(leader)
        for each in followers:
            await outcome(each)
        assert scheduler.stats()["prompt_tokens_evaluated"] <= 3 * len(COMMON) + 1 + 64


async def test_speculative_work_does_not_push_out_its_own_kind(model: Model) -> None:
    jobs = [job(priority=PRIORITY_SPECULATIVE, tokens=20) for _ in range(PARALLEL + 2)]
    async with scheduling(model, *jobs):
        assert not [each for each in jobs if isinstance(await outcome(each), EngineError)]
