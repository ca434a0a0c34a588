"""Vectors from another process."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

import pytest
from msgspec import structs

from backends import base
from backends.stub_embedder import StubEmbedder
from backends.types import Embedding, GenerationRequest
from backends.worker import frames
from backends.worker.client import WorkerEngine, launch
from backends.worker.host import Outbox
from tests.backends.worker.processes import stub_config

CONFIG = structs.replace(stub_config(), task="embed", alias="vectors")


@pytest.fixture
async def worker() -> AsyncIterator[WorkerEngine]:
    engine = await launch(CONFIG, python=sys.executable, environment={})
    yield engine
    await engine.close()


async def running(worker: WorkerEngine) -> int:
    return int((await worker.stats())["running"])


async def until_running(worker: WorkerEngine, calls: int) -> None:
    async with asyncio.timeout(10):
        while await running(worker) != calls:
            await asyncio.sleep(0.01)


async def test_vectors_are_those_of_the_engine(worker: WorkerEngine) -> None:
    inputs: list[str | list[int]] = ["two words", [0x1C3A9], "naïve 😀"]
    assert (worker.capabilities.embeddings, worker.info.name) == (True, "vectors")
    assert await worker.embed(inputs) == await StubEmbedder(CONFIG).embed(inputs)
    assert await worker.embed(inputs, dimensions=5) == await StubEmbedder(CONFIG).embed(inputs, dimensions=5)
    assert await worker.embed([]) == []


async def test_thousands_of_vectors_come_in_order_and_callers_do_not_mix(worker: WorkerEngine) -> None:
    many = [f"text {number}" for number in range(3000)]
    found = await asyncio.gather(worker.embed(many), *(worker.embed([text]) for text in many[:50]))
    expected = await StubEmbedder(CONFIG).embed(many)
    assert found[0] == expected
    assert found[1:] == [[embedding] for embedding in expected[:50]]


async def test_an_error_keeps_its_class_and_its_fields(worker: WorkerEngine) -> None:
    with pytest.raises(base.ContextLengthError, match="601 tokens.*512") as caught:
        await worker.embed(["fine", "word " * 600])
    assert caught.value.param == "input[1]"


async def test_a_cancelled_call_is_aborted_in_the_engine(worker: WorkerEngine) -> None:
    calls = [asyncio.create_task(worker.embed(['{"hang_at": 0}'])) for _ in range(5)]
    await until_running(worker, 5)
    for call in calls:
        call.cancel()
    await asyncio.wait(calls)
    await until_running(worker, 0)


async def test_a_crash_ends_every_call_with_its_reason(worker: WorkerEngine) -> None:
    hanging = asyncio.create_task(worker.embed(['{"hang_at": 0}']))
    await until_running(worker, 1)
    for call in (worker.embed(['{"crash_at": 0}']), hanging):
        with pytest.raises(base.EngineCrashedError, match="SIGKILL"):
            await call


async def test_an_embedding_model_writes_nothing(worker: WorkerEngine) -> None:
    with pytest.raises(base.UnsupportedError) as caught:
        await anext(worker.stream(GenerationRequest(id="r", prompt="hi")))
    assert caught.value.param == "model"


def test_vectors_over_the_cap_of_a_frame_come_in_several() -> None:
    writes: list[bytes] = []
    outbox = Outbox(writes.append, lambda _stream: None)
    sent = [(1, Embedding(bytes([number]) * (frames.MAX_FRAME_BYTES // 3), number)) for number in range(7)]

    async def send() -> None:
        for stream, embedding in sent:
            outbox.event(stream, embedding)
        await asyncio.sleep(0)

    asyncio.run(send())
    received = list(frames.FrameDecoder[frames.WorkerFrame](frames.WorkerFrame).feed(b"".join(writes)))
    assert [event for frame in received if isinstance(frame, frames.Events) for event in frame.events] == sent
    assert len(received) > 2
