"""Lease, generate, retry once."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

import pytest

from app.errors import UnknownModelError
from app.experts.catalog import Catalog
from app.orchestrator import Item, Job, LiveMindOrchestrator, Started
from backends.base import CapacityError, EngineCrashedError, EngineError, UnsupportedError
from backends.types import Accepted, Delta, GenerationRequest
from tests.app.doubles import INFO, OnePool, ScriptedEngine, says
from tests.app.serving import SETTINGS

CATALOG = Catalog.from_settings(SETTINGS)


def request(**fields: Any) -> GenerationRequest:
    return GenerationRequest(id="r", **{"prompt": "Hi", **fields})


async def run(pool: OnePool, *requests: GenerationRequest, model: str | None = None) -> list[Item]:
    job = Job("job", model, requests or (request(),))
    return [item async for item in LiveMindOrchestrator(CATALOG, pool).stream(job)]


CRASH = EngineCrashedError("it died")


async def test_a_stream_starts_with_who_answers() -> None:
    items = await run(OnePool(ScriptedEngine(says("a"))))
    assert items[:2] == [Started("double", INFO), Accepted(3)]


async def test_the_lease_ends_with_the_stream() -> None:
    pool = OnePool(ScriptedEngine(says("a")))
    await run(pool)
    assert (pool.leases, pool.leased) == (1, 0)


async def test_closing_the_stream_closes_the_engines_stream_and_the_lease() -> None:
    engine = ScriptedEngine(says("a", "b", "c"))
    pool = OnePool(engine)
    async with aclosing(LiveMindOrchestrator(CATALOG, pool).stream(Job("job", None, (request(),)))) as items:
        await anext(items)
        assert (engine.running, pool.leased) == (1, 1)
    assert (engine.running, pool.leased) == (0, 0)


async def test_a_crash_before_the_first_event_is_tried_again_on_a_fresh_engine() -> None:
    dead, fresh = ScriptedEngine([CRASH]), ScriptedEngine(says("a"))
    items = await run(OnePool(dead, fresh))
    assert Delta(0, "a") in items
    assert len(dead.requests) == len(fresh.requests) == 1


async def test_a_second_crash_is_final() -> None:
    engine = ScriptedEngine([CRASH])
    with pytest.raises(EngineCrashedError):
        await run(OnePool(engine))
    assert len(engine.requests) == 2


async def test_a_crash_after_the_first_event_is_final() -> None:
    engine = ScriptedEngine([Accepted(3), CRASH])
    with pytest.raises(EngineCrashedError):
        await run(OnePool(engine))
    assert len(engine.requests) == 1


@pytest.mark.parametrize("error", [CapacityError("full"), EngineError("odd"), UnsupportedError("no")])
async def test_other_errors_are_not_tried_again(error: EngineError) -> None:
    engine = ScriptedEngine([error])
    with pytest.raises(type(error)):
        await run(OnePool(engine))
    assert len(engine.requests) == 1


async def test_an_unknown_model_never_gets_to_the_pool() -> None:
    pool = OnePool(ScriptedEngine(says("a")))
    with pytest.raises(UnknownModelError):
        await run(pool, model="other")
    assert pool.leases == 0


async def test_choices_of_several_prompts_are_numbered_through() -> None:
    scripts = [[*says("a"), *says("b", index=1)], [*says("c"), *says("d", index=1)]]
    items = await run(OnePool(ScriptedEngine(*scripts)), request(n=2), request(n=2))
    texts = {item.index: item.text for item in items if isinstance(item, Delta) and item.text}
    assert texts == {0: "a", 1: "b", 2: "c", 3: "d"}
    assert sum(isinstance(item, Started) for item in items) == 1
