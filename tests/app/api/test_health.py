"""Health and the greeting."""

from __future__ import annotations

import pytest

from app import __version__
from app.api.health import ENDPOINTS, overall
from app.experts.supervisor import ExpertStatus
from app.main import ROUTES
from tests.app.doubles import OnePool
from tests.app.serving import engine, serving


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_the_root_answers_probes(method: str) -> None:
    async with serving(engine()) as client:
        assert (await client.ask(method, "/")).status == 200


async def test_the_root_says_what_answers_here() -> None:
    async with serving(engine()) as client:
        body = (await client.get("/")).json
    assert (body["name"], body["version"]) == ("Jarvis LLM Proxy", __version__)


def test_the_root_lists_every_route() -> None:
    listed = {line.split()[1].replace("{id}", "{id:path}") for line in ENDPOINTS}
    assert listed == {route.path for route in ROUTES} - {"/"} | {"/openapi.json"}


@pytest.mark.parametrize(
    ("states", "word"),
    [
        ([], "loading"),
        (["loading"], "loading"),
        (["ready"], "ok"),
        (["ready", "loading"], "ok"),
        (["failed"], "degraded"),
        (["restarting"], "degraded"),
        (["ready", "failed"], "degraded"),
    ],
)
def test_one_word_for_all_models(states: list[str], word: str) -> None:
    assert overall([ExpertStatus("m", state) for state in states]) == word  # type: ignore[arg-type]


async def test_health_names_the_models() -> None:
    async with serving(OnePool(engine(), status=[ExpertStatus("a", "ready"), ExpertStatus("b", "loading")])) as client:
        answer = await client.get("/health")
    assert answer.status == 200
    assert answer.json == {
        "status": "ok",
        "models_loaded": ["a"],
        "models_available": ["a", "b"],
        "version": __version__,
    }


@pytest.mark.parametrize(("state", "status"), [("ready", 200), ("loading", 503), ("restarting", 503), ("failed", 503)])
@pytest.mark.parametrize("other", ["ready", "loading", "failed"])
async def test_ready_means_that_the_model_which_writes_answers(state: str, status: int, other: str) -> None:
    experts = [ExpertStatus("vectors", other), ExpertStatus("double", state, "why", 0.5)]  # type: ignore[arg-type]
    pool = OnePool(engine(), status=experts)
    async with serving(pool) as client:
        answer = await client.get("/health/ready")
    assert answer.status == status
    assert answer.json["ready"] == (status == 200)
    assert [(model["id"], model["state"]) for model in answer.json["models"]] == [("vectors", other), ("double", state)]
    assert answer.json["models"][1] == {"id": "double", "state": state, "reason": "why", "progress": 0.5}


async def test_live_does_not_ask_about_models() -> None:
    async with serving(OnePool(engine(), status=[ExpertStatus("a", "failed")])) as client:
        assert (await client.get("/health/live")).status == 200
