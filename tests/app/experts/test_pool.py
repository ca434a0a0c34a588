import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import structs

from app.experts import supervisor
from app.experts.catalog import Catalog
from app.experts.policy import RestartPolicy
from app.experts.pool import EnginePool, PoolLimits, worker_launcher
from app.settings import Settings
from app.settings.sections import ModelSettings
from backends import base
from backends.types import Delta, GenerationRequest
from tests.app.experts.doubles import Launches, expert

QUICK = RestartPolicy(first_delay_s=0.01, breaker_pause_s=0.05)
FOREVER = 60.0


@asynccontextmanager
async def pool_of(
    launches: Launches, *, model: str = "/nonexistent", load_wait_s: float = 5.0, max_active: int = 8
) -> AsyncGenerator[EnginePool]:
    pool = EnginePool([expert(model=model)], launches, PoolLimits(load_wait_s, max_active, QUICK))
    await pool.start()
    try:
        yield pool
    finally:
        await pool.close()


async def answer(pool: EnginePool, expert_id: str = "m", prompt: str = "hello") -> str:
    async with pool.lease(expert_id) as engine:
        events = [event async for event in engine.stream(GenerationRequest(id="r", prompt=prompt))]
    return "".join(event.text for event in events if isinstance(event, Delta))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.002)


async def test_starting_returns_before_anything_is_loaded() -> None:
    async with pool_of(Launches(FOREVER)) as pool:
        [status] = pool.status()
        assert (status.state, status.info) == ("loading", None)
        await until(lambda: pool.status()[0].progress == 0.5)


async def test_requests_wait_for_one_load_and_share_it() -> None:
    launches = Launches(0.05)
    async with pool_of(launches) as pool:
        assert await asyncio.gather(*(answer(pool) for _ in range(5))) == ["hello"] * 5
        [status] = pool.status()
        assert (launches.count, status.state, status.progress) == (1, "ready", None)
        assert status.info is not None and status.info.name == "m"


async def test_a_load_that_takes_too_long_is_refused_with_a_time_to_come_back() -> None:
    async with pool_of(Launches(FOREVER), load_wait_s=0.02) as pool:
        with pytest.raises(base.ModelLoadingError, match="'m'") as caught:
            await answer(pool)
        assert caught.value.retry_after_s is not None and caught.value.retry_after_s >= 1


async def test_a_waiter_that_goes_away_frees_its_place() -> None:
    async with pool_of(Launches(0.1), max_active=1) as pool:
        waiter = asyncio.ensure_future(answer(pool))
        await asyncio.sleep(0.01)
        with pytest.raises(base.CapacityError):
            await answer(pool)
        waiter.cancel()
        await asyncio.wait([waiter])
        assert await answer(pool) == "hello"


async def test_one_request_too_many_is_refused_at_once() -> None:
    async with pool_of(Launches(), max_active=2) as pool, pool.lease("m"), pool.lease("m"):
        with pytest.raises(base.CapacityError) as caught:
            await answer(pool)
        assert caught.value.retry_after_s is not None


async def test_the_requests_of_an_expert_are_counted() -> None:
    async with pool_of(Launches()) as pool:
        async with pool.lease("m"), pool.lease("m"):
            assert pool.status()[0].requests == 2
        assert pool.status()[0].requests == 0


async def test_a_look_at_an_engine_neither_waits_nor_counts() -> None:
    launches = Launches(0.02)
    async with pool_of(launches, max_active=1) as pool:
        assert pool.peek("m") is None
        async with pool.lease("m") as engine:
            assert pool.peek("m") is engine
            launches.engines[0].crash()
            assert pool.peek("m") is None


async def test_an_unloadable_model_fails_at_once_and_is_not_tried_again() -> None:
    launches = Launches(base.ModelUnavailableError("no such file: m.gguf"))
    async with pool_of(launches) as pool:
        for _ in range(3):
            with pytest.raises(base.ModelUnavailableError, match="no such file: m.gguf"):
                await answer(pool)
        [status] = pool.status()
        assert (status.state, status.reason, launches.count) == ("failed", "no such file: m.gguf", 1)


async def test_a_mended_file_is_loaded_by_the_next_request(tmp_path: Path) -> None:
    model, launches = tmp_path / "m.gguf", Launches(base.ModelUnavailableError("truncated"))
    model.write_bytes(b"GG")
    async with pool_of(launches, model=str(model)) as pool:
        await until(lambda: pool.status()[0].state == "failed")
        model.write_bytes(b"GGUF")
        assert await answer(pool) == "hello"
    assert launches.count == 2


async def test_a_mended_adapter_counts_like_a_mended_model(tmp_path: Path) -> None:
    adapter, launches = tmp_path / "a.gguf", Launches(base.ModelUnavailableError("the adapter is damaged"))
    one = expert()
    one = replace(one, config=structs.replace(one.config, adapters={"a": str(adapter)}))
    pool = EnginePool([one], launches, PoolLimits())
    await pool.start()
    await until(lambda: pool.status()[0].state == "failed")
    adapter.write_bytes(b"GGUF")
    assert await answer(pool) == "hello"
    await pool.close()


async def test_the_file_of_a_failed_model_is_looked_at_once_a_second(tmp_path: Path) -> None:
    model, launches = tmp_path / "m.gguf", Launches(base.ModelUnavailableError("missing"))
    async with pool_of(launches, model=str(model)) as pool:
        with pytest.raises(base.ModelUnavailableError):
            await answer(pool)
        with pytest.raises(base.ModelUnavailableError):
            await answer(pool)
        model.write_bytes(b"GGUF")
        with pytest.raises(base.ModelUnavailableError):
            await answer(pool)
        await asyncio.sleep(supervisor.LOOK_S)
        assert await answer(pool) == "hello"


async def test_after_a_crash_the_next_request_waits_for_a_new_engine() -> None:
    launches = Launches()
    async with pool_of(launches) as pool:
        assert await answer(pool) == "hello"
        launches.engines[0].crash()
        [status] = pool.status()
        assert (status.state, status.reason, status.info) == ("restarting", "crashed", None)
        async with pool.lease("m") as engine:
            assert engine is launches.engines[1]
        assert launches.engines[0].closed


async def test_three_crashes_in_a_row_open_the_breaker_which_closes_by_itself() -> None:
    launches = Launches(*(base.EngineCrashedError(f"crash {number}") for number in range(3)))
    async with pool_of(launches) as pool:
        await until(lambda: pool.status()[0].state == "failed")
        with pytest.raises(base.EngineCrashedError, match="repeatedly.*crash 2") as caught:
            await answer(pool)
        assert caught.value.retry_after_s is not None
        assert launches.count == 3
        await until(lambda: pool.status()[0].state == "ready")
        assert await answer(pool) == "hello"


async def test_a_model_that_is_gone_after_the_breaker_is_not_said_to_rest() -> None:
    crashes = (base.EngineCrashedError(f"crash {number}") for number in range(3))
    launches = Launches(*crashes, base.ModelUnavailableError("the file is gone"))
    async with pool_of(launches) as pool:
        await until(lambda: launches.count == 4 and pool.status()[0].state == "failed")
        with pytest.raises(base.ModelUnavailableError, match="the file is gone"):
            await answer(pool)


async def test_a_crash_of_one_expert_leaves_the_others_alone() -> None:
    launches = Launches()
    pool = EnginePool([expert("a"), expert("b")], launches, PoolLimits(restart=QUICK))
    await pool.start()
    await until(lambda: len(launches.engines) == 2)
    launches.engines[0].crash()
    assert [status.state for status in pool.status()] == ["restarting", "ready"]
    assert await answer(pool, "b") == "hello"
    await pool.close()


async def test_closing_ends_engines_loads_and_waiting_requests() -> None:
    launches = Launches(0.0, FOREVER)
    pool = EnginePool([expert("a"), expert("b")], launches, PoolLimits())
    await pool.start()
    waiter = asyncio.ensure_future(answer(pool, "b"))
    await until(lambda: launches.count == 2 and pool.status()[0].state == "ready")
    await asyncio.gather(pool.close(), pool.close())
    with pytest.raises(base.EngineClosedError):
        await waiter
    with pytest.raises(base.EngineClosedError):
        await answer(pool, "a")
    assert (launches.engines[0].closed, launches.cancelled) == (True, 1)


async def test_whoever_closes_second_waits_for_the_end_too() -> None:
    launches = Launches()
    async with pool_of(launches) as pool:
        await answer(pool)
        launches.engines[0].farewell_s = 0.05
        first = asyncio.ensure_future(pool.close())
        await asyncio.sleep(0)
        await pool.close()
        assert launches.engines[0].closed
        await first


async def test_a_defect_in_a_launcher_does_not_look_like_loading(caplog: pytest.LogCaptureFixture) -> None:
    async def defective(*_: object) -> base.SupervisedEngine:
        raise ZeroDivisionError

    pool = EnginePool([expert()], defective, PoolLimits())
    await pool.start()
    with pytest.raises(base.ModelUnavailableError, match="ZeroDivisionError"):
        await answer(pool)
    assert "given up" in caplog.text
    await pool.close()


async def test_a_killed_worker_fails_its_streams_and_the_next_request_gets_a_new_one() -> None:
    pool = EnginePool([expert()], worker_launcher(sys.executable, {}), PoolLimits(restart=QUICK))
    await pool.start()
    with pytest.raises(base.EngineCrashedError, match="SIGKILL"):
        await asyncio.wait_for(answer(pool, prompt=json.dumps({"tokens": 3, "crash_at": 1})), 10)
    assert await answer(pool) == "hello"
    await pool.close()


async def test_a_worker_killed_from_outside_comes_back_without_a_request() -> None:
    pool = EnginePool([expert()], worker_launcher(sys.executable, {}), PoolLimits(restart=QUICK))
    await pool.start()
    async with pool.lease("m") as engine:
        pid = engine.pid  # type: ignore[attr-defined]
    os.kill(pid, signal.SIGKILL)
    await until(lambda: pool.status()[0].state == "restarting")
    await until(lambda: pool.status()[0].state == "ready")
    await pool.close()


async def test_a_server_gets_its_pool_from_the_settings() -> None:
    settings = Settings(model=ModelSettings(engine="stub", alias="mine"))
    pool = EnginePool.from_settings(settings, Catalog.from_settings(settings))
    await pool.start()
    assert await answer(pool, "mine") == "hello"
    await pool.close()
