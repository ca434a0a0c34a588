"""The scheduler where a real model never leads it: a decode that fails, and who comes first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from backends.base import EngineError
from backends.llama_cpp.context import Context, ContextOptions
from backends.llama_cpp.job import Job
from backends.llama_cpp.model import Model
from backends.llama_cpp.plan import CellBudget, StepCost
from backends.llama_cpp.sampling import resolve, sampling_defaults
from backends.llama_cpp.scheduler import Parcel, Scheduler
from backends.types import PRIORITY_SPECULATIVE, Accepted, Delta, GenerationRequest, SamplingParams
from tests.backends.llama_cpp.conftest import BUNDLED_MODEL

SEQUENCES = 2


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
    model = Model(str(BUNDLED_MODEL), n_gpu_layers=0, progress=lambda _: None)
    yield model
    model.close()


@asynccontextmanager
async def scheduling(model: Model, *jobs: Job, failures: int = 0) -> AsyncIterator[Scheduler]:
    """A scheduler that found `jobs` in its mail when it started."""
    loop = asyncio.get_running_loop()

    def hand_out(parcels: list[Parcel]) -> None:
        for job, event in parcels:
            job.events.put_nowait(event)

    def deliver(parcels: list[Parcel]) -> None:
        loop.call_soon_threadsafe(hand_out, parcels)

    context = FragileContext(model, ContextOptions(cells=512, sequences=SEQUENCES, n_batch=64, n_threads=1))
    context.failures = failures
    cells = CellBudget(context.cells, SEQUENCES)
    scheduler = Scheduler(context, model.vocab, cells=cells, cost=StepCost(), deliver=deliver)
    for job in jobs:
        scheduler.submit(job)
    scheduler.start()
    try:
        yield scheduler
    finally:
        await asyncio.to_thread(scheduler.close)
        context.close()


def job(*, tokens: int = 4, priority: int = 0) -> Job:
    return Job(
        request=GenerationRequest(id="r", priority=priority),
        prompt=[70, 71, 72],
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
    sound, present, later = job(), [job() for _ in range(SEQUENCES + 1)], job()
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
    running, waiting = [job(tokens=240) for _ in range(SEQUENCES)], job()
    async with scheduling(model, *running, waiting) as scheduler:
        assert isinstance(await running[0].events.get(), Accepted)
        for each in (waiting, running[0], running[0]):
            scheduler.abort(each)
        assert isinstance(await outcome(running[1]), list)
        received = [running[0].events.get_nowait() for _ in range(running[0].events.qsize())]
        assert None not in received and waiting.events.empty()
        assert scheduler.stats()["kv_cells_reserved"] == 0
