"""`/stats`: what the server and its models are doing, whatever state they are in."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Any

import pytest
from pydantic import SecretStr

from app import __version__
from app.api import stats
from app.experts.catalog import Catalog
from app.experts.pool import EnginePool
from app.experts.supervisor import ExpertStatus
from app.main import create_app
from app.settings.sections import ServerSettings
from backends.base import EngineCrashedError
from tests.app.asgi import Client, lifespan
from tests.app.doubles import FOREVER, OnePool, ScriptedEngine
from tests.app.serving import SETTINGS, engine, serving, settings_with

COUNTERS = {"running": 1, "waiting": 2}


class Counting(ScriptedEngine):
    """An engine with numbers; it gives them after a while, or fails to."""

    def __init__(self, outcome: float | Exception = 0.0) -> None:
        super().__init__()
        self._outcome = outcome

    async def stats(self) -> dict[str, Any]:
        if isinstance(self._outcome, Exception):
            raise self._outcome
        await asyncio.sleep(self._outcome)
        return COUNTERS


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stats, "PATIENCE_S", 0.05)


async def expert_of(pool: OnePool | ScriptedEngine) -> dict[str, Any]:
    async with serving(pool) as client:
        answer = await client.get("/stats")
    assert answer.status == 200
    [expert] = answer.json["experts"]
    return dict(expert)


async def test_the_server_tells_of_itself() -> None:
    async with serving(Counting()) as client:
        body = (await client.get("/stats")).json
    assert set(body) == {"version", "uptime_s", "rss_bytes", "experts", "kernels"}
    assert body["version"] == __version__
    assert set(body["kernels"]["similarity_topk"]) == {"level", "reason"}
    assert 0 <= body["uptime_s"] < 60
    assert sys.platform != "linux" or body["rss_bytes"] > 10_000_000


async def test_a_ready_model_gives_its_numbers_and_takes_no_place_in_the_queue() -> None:
    pool = OnePool(Counting(), status=[ExpertStatus("double", "ready", requests=5)])
    assert await expert_of(pool) == {
        "id": "double",
        "state": "ready",
        "reason": None,
        "progress": None,
        "requests": 5,
        "stats": COUNTERS,
    }
    assert pool.leases == 0


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (ExpertStatus("double", "loading", progress=0.5), "the model is loading"),
        (ExpertStatus("double", "failed", "no such file"), "no such file"),
    ],
)
async def test_a_model_that_is_not_ready_says_why(status: ExpertStatus, reason: str) -> None:
    expert = await expert_of(OnePool(Counting(), status=[status], wait_s=FOREVER))
    assert (expert["state"], expert["progress"]) == (status.state, status.progress)
    assert (expert["stats"], expert["reason"]) == (None, reason)


@pytest.mark.usefixtures("impatient")
async def test_an_engine_that_says_nothing_is_not_waited_for() -> None:
    expert = await expert_of(Counting(FOREVER))
    assert (expert["stats"], expert["reason"]) == (None, "the engine did not answer within 0.05 s")


async def test_an_engine_that_dies_meanwhile_is_reported() -> None:
    expert = await expert_of(Counting(EngineCrashedError("it died")))
    assert (expert["stats"], expert["reason"]) == (None, "it died")


async def test_it_needs_a_key_where_there_are_keys() -> None:
    settings = settings_with(server=ServerSettings(api_keys=(SecretStr("key"),)))
    async with serving(engine(), settings) as client:
        assert (await client.get("/stats")).status == 401
        assert (await client.ask("GET", "/stats", headers={"authorization": "Bearer key"})).status == 200


async def test_a_worker_process_tells_of_itself_and_is_reported_when_it_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = EnginePool.from_settings(SETTINGS, Catalog.from_settings(SETTINGS))
    app = create_app(SETTINGS, pool)
    async with lifespan(app):
        async with pool.lease("double"):
            living, _embedding = (await Client(app).get("/stats")).json["experts"]
        process = living["stats"]["process"]
        assert (living["requests"], living["stats"]["running"]) == (1, 0)
        assert process["rss_bytes"] is None or process["rss_bytes"] > 1_000_000
        monkeypatch.setattr(stats, "PATIENCE_S", 0.05)
        os.kill(process["pid"], signal.SIGSTOP)
        try:
            hanging, _embedding = (await Client(app).get("/stats")).json["experts"]
        finally:
            os.kill(process["pid"], signal.SIGCONT)
    assert (hanging["state"], hanging["stats"]) == ("ready", None)
    assert "did not answer" in hanging["reason"]
