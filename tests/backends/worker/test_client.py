import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from backends import base
from backends.types import Accepted, Delta, Event, GenerationRequest, TokenPiece
from backends.worker import frames
from backends.worker.client import WorkerEngine, WorkerLimits, launch
from tests.backends.worker.processes import alive, stub_config, until

ROOT = Path(__file__).parents[3]


def ask(script: str | dict[str, Any]) -> GenerationRequest:
    return GenerationRequest(id="r", prompt=script if isinstance(script, str) else json.dumps(script))


async def read(worker: WorkerEngine, script: str | dict[str, Any]) -> str:
    return "".join([event.text async for event in worker.stream(ask(script)) if isinstance(event, Delta)])


async def begun(worker: WorkerEngine, script: dict[str, Any]) -> AsyncGenerator[Event, None]:
    """A stream of which two events have been read."""
    stream = worker.stream(ask(script))
    assert [type(await anext(stream)) for _ in range(2)] == [Accepted, Delta]
    return stream


async def idle(worker: WorkerEngine) -> None:
    async with asyncio.timeout(5):
        while (await worker.stats())["running"]:
            await asyncio.sleep(0.01)


async def test_a_worker_is_an_engine(worker: WorkerEngine) -> None:
    engine: base.SupervisedEngine = worker
    assert (engine.info.name, engine.capabilities.prefill_only) == ("stub", True)
    assert await read(worker, "héllo 😀 world") == "héllo 😀 world"
    assert await engine.tokenize("é") == [TokenPiece(0x1C3A9, b"\xc3\xa9")]
    assert await engine.detokenize([0x1C3A9]) == "é"
    assert (await engine.stats())["running"] == 0


async def test_streams_at_the_same_time_do_not_mix(worker: WorkerEngine) -> None:
    texts = [f"text number {number} of many" for number in range(50)]
    assert await asyncio.gather(*(read(worker, {"text": text, "delay_ms": 1}) for text in texts)) == texts


async def test_an_error_keeps_its_class_and_its_fields(worker: WorkerEngine) -> None:
    with pytest.raises(base.ContextLengthError, match="8192") as caught:
        await read(worker, "word " * 9000)
    assert caught.value.param == "prompt"
    with pytest.raises(base.UnsupportedError, match="not an embedding model"):
        await worker.embed(["a", [1, 2]])
    with pytest.raises(base.InvalidRequestError, match="-5"):
        await worker.detokenize([-5])


async def test_a_failure_in_mid_stream_comes_after_what_was_generated(worker: WorkerEngine) -> None:
    stream = await begun(worker, {"tokens": 5, "fail_at": 1})
    with pytest.raises(base.EngineError, match="token 1"):
        await anext(stream)


@pytest.mark.parametrize("script", [{"tokens": 9, "hang_at": 1}, {"tokens": 9000, "delay_ms": 1}])
async def test_closing_a_stream_aborts_it_in_the_engine(worker: WorkerEngine, script: dict[str, Any]) -> None:
    stream = await begun(worker, script)
    await stream.aclose()
    await idle(worker)


async def test_cancelling_the_reader_aborts_the_stream(worker: WorkerEngine) -> None:
    reader = asyncio.ensure_future(read(worker, {"tokens": 9, "hang_at": 1}))
    await asyncio.sleep(0.05)
    reader.cancel()
    await asyncio.wait([reader])
    await idle(worker)


async def test_progress_is_reported_while_the_model_loads() -> None:
    seen: list[float] = []
    worker = await launch(stub_config(), python=sys.executable, environment={}, on_progress=seen.append)
    await worker.close()
    assert seen == [0.25, 0.5, 0.75, 1.0]


async def test_a_model_that_cannot_be_loaded_is_reported_as_such() -> None:
    with pytest.raises(base.ModelUnavailableError, match="^no such file: m.gguf$"):
        await launch(stub_config(load_fail="no such file: m.gguf"), python=sys.executable, environment={})


async def test_a_crash_while_loading_tells_the_signal() -> None:
    with pytest.raises(base.EngineCrashedError, match="ended by SIGKILL"):
        await launch(stub_config(load_crash=True), python=sys.executable, environment={})


async def test_a_crash_while_loading_tells_the_last_words(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho GGML_ASSERT failed >&2\nexit 4\n")
    python.chmod(0o755)
    with pytest.raises(base.EngineCrashedError, match="exited with code 4 .*\nGGML_ASSERT failed"):
        await launch(stub_config(), python=str(python), environment={})


@pytest.mark.parametrize("how", ["kill", "script"])
async def test_a_death_in_mid_stream_ends_every_stream(worker: WorkerEngine, how: str) -> None:
    streams = [await begun(worker, {"tokens": 9, "hang_at": 1}) for _ in range(3)]
    if how == "kill":
        os.kill(worker.pid, signal.SIGKILL)
    else:
        streams.append(await begun(worker, {"tokens": 9, "crash_at": 1}))
    for stream in streams:
        with pytest.raises(base.EngineCrashedError, match="SIGKILL") as caught:
            await asyncio.wait_for(anext(stream), 5)
        assert caught.value.retry_after_s is not None
    assert isinstance(await worker.wait_closed(), base.EngineCrashedError)
    for late in (read(worker, "hi"), worker.stats()):
        with pytest.raises(base.EngineCrashedError):
            await late


async def test_a_worker_that_gives_no_sign_of_life_is_killed() -> None:
    limits = WorkerLimits(ping_s=0.05, hang_s=0.3, hang_grace_s=0.1)
    worker = await launch(stub_config(), python=sys.executable, environment={}, limits=limits)
    stream = await begun(worker, {"tokens": 9, "hang_at": 1})
    os.kill(worker.pid, signal.SIGSTOP)
    with pytest.raises(base.EngineTimeoutError, match="sign of life"):
        await asyncio.wait_for(anext(stream), 10)
    assert isinstance(await worker.wait_closed(), base.EngineTimeoutError)
    assert not alive(worker.pid)


async def test_a_worker_that_answers_pings_is_left_alone() -> None:
    limits = WorkerLimits(ping_s=0.02, hang_s=1.0)
    worker = await launch(stub_config(), python=sys.executable, environment={}, limits=limits)
    stream = await begun(worker, {"tokens": 9, "hang_at": 1})
    await asyncio.sleep(1.2)
    await stream.aclose()
    assert await read(worker, "still here") == "still here"
    await worker.close()


async def test_loading_may_take_longer_than_a_sign_of_life() -> None:
    limits = WorkerLimits(ping_s=0.02, hang_s=0.04)
    worker = await launch(stub_config(load_s=0.5), python=sys.executable, environment={}, limits=limits)
    await worker.close()


def test_the_edge_may_run_on_uvloop() -> None:
    uvloop = pytest.importorskip("uvloop")

    async def use() -> None:
        worker = await launch(stub_config(), python=sys.executable, environment={})
        assert await read(worker, "héllo") == "héllo"
        stream = await begun(worker, {"tokens": 9, "hang_at": 1})
        os.kill(worker.pid, signal.SIGKILL)
        with pytest.raises(base.EngineCrashedError, match="SIGKILL"):
            await asyncio.wait_for(anext(stream), 5)
        await worker.close()
        assert not alive(worker.pid)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(use())


async def test_closing_ends_open_streams_and_the_process(worker: WorkerEngine) -> None:
    stream = await begun(worker, {"tokens": 9, "hang_at": 1})
    await asyncio.gather(worker.close(), worker.close())
    with pytest.raises(base.EngineClosedError):
        await anext(stream)
    assert isinstance(await worker.wait_closed(), base.EngineClosedError)
    assert not alive(worker.pid)


async def test_a_stopped_worker_is_closed_all_the_same() -> None:
    limits = WorkerLimits(close_s=0.2, close_grace_s=0.1)
    worker = await launch(stub_config(), python=sys.executable, environment={}, limits=limits)
    os.kill(worker.pid, signal.SIGSTOP)
    await asyncio.wait_for(worker.close(), 5)
    assert not alive(worker.pid)


async def test_a_request_over_the_cap_harms_nobody_else(worker: WorkerEngine) -> None:
    stream = await begun(worker, {"tokens": 3, "delay_ms": 20})
    with pytest.raises(base.InvalidRequestError, match="16777216"):
        await read(worker, "x" * frames.MAX_FRAME_BYTES)
    with pytest.raises(base.InvalidRequestError, match="Unicode"):
        await worker.tokenize("\ud800")
    assert len([event async for event in stream]) == 3


async def test_an_answer_over_the_cap_is_the_request_s_fault(worker: WorkerEngine) -> None:
    with pytest.raises(base.InvalidRequestError, match="too large"):
        await worker.tokenize("é" * 1_000_000)
    assert await read(worker, "still here") == "still here"


@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in /proc")
async def test_two_hundred_requests_leave_nothing_behind(worker: WorkerEngine) -> None:
    def holdings() -> list[int]:
        descriptors = [len(os.listdir(f"/proc/{pid}/fd")) for pid in (os.getpid(), worker.pid)]
        return [len(asyncio.all_tasks()), *descriptors]

    await read(worker, "warm")
    before = holdings()
    for _ in range(10):
        aborted = [await begun(worker, {"tokens": 99, "hang_at": 1}) for _ in range(10)]
        await asyncio.gather(*(read(worker, "complete") for _ in range(10)))
        for stream in aborted:
            await stream.aclose()
    await idle(worker)
    assert holdings() == before


PARENT = """
import asyncio, sys
from backends.worker.client import launch
from tests.backends.worker.processes import stub_config

async def main():
    worker = await launch(stub_config(), python=sys.executable, environment={})
    print(worker.pid, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


async def test_a_worker_does_not_outlive_its_edge() -> None:
    edge = await asyncio.create_subprocess_exec(sys.executable, "-c", PARENT, stdout=asyncio.subprocess.PIPE, cwd=ROOT)
    assert edge.stdout is not None
    pid = int(await edge.stdout.readline())
    assert alive(pid)
    edge.kill()
    await until(lambda: not alive(pid))
    await edge.wait()


async def test_logs_of_the_worker_reach_the_edge(worker: WorkerEngine, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    os.kill(worker.pid, signal.SIGABRT)
    await worker.wait_closed()
    assert any("Aborted" in record.message for record in caplog.records if record.name == "jarvis.worker.stub")
