"""The list of models."""

from __future__ import annotations

import time

import pytest

from app.experts.supervisor import ExpertStatus
from app.settings.sections import ModelSettings
from tests.app.doubles import OnePool
from tests.app.serving import chat, engine, serving, settings_with


async def test_the_list_has_the_shape_of_openais() -> None:
    async with serving(engine()) as client:
        body = (await client.get("/v1/models")).json
    model, _embedding = body.pop("data")
    assert body == {"object": "list"}
    assert 0 <= time.time() - model.pop("created") < 60
    assert model == {"id": "double", "object": "model", "owned_by": "jarvis"}


async def test_a_model_is_found_by_its_id() -> None:
    async with serving(engine()) as client:
        assert (await client.get("/v1/models/double")).json == (await client.get("/v1/models")).json["data"][0]


async def test_ids_with_slashes_route() -> None:
    settings = settings_with(model=ModelSettings(engine="stub", alias="org/model:q8"))
    async with serving(OnePool(engine(), status=[ExpertStatus("org/model:q8", "ready")]), settings) as client:
        assert (await client.get("/v1/models/org/model:q8")).json["id"] == "org/model:q8"


ADAPTED = settings_with(model=ModelSettings(engine="stub", alias="double", adapters={"sql": "/l/sql.gguf"}))


async def test_adapters_are_models_with_a_parent() -> None:
    async with serving(engine(), ADAPTED) as client:
        base, adapted, _embedding = (await client.get("/v1/models")).json["data"]
        assert (await client.get("/v1/models/double:sql")).json == adapted
    assert (base["id"], adapted["id"], adapted["parent"]) == ("double", "double:sql", "double")
    assert "parent" not in base


async def test_an_answer_names_the_adapter_that_gave_it() -> None:
    playing = engine()
    async with serving(playing, ADAPTED) as client:
        whole = await client.post("/v1/chat/completions", chat(model="double:sql"))
        stream = await client.post("/v1/chat/completions", chat(model="double:sql", stream=True))
        await client.post("/v1/chat/completions", chat(model="double"))
    assert whole.json["model"] == "double:sql"
    assert {event["model"] for event in stream.events} == {"double:sql"}
    assert [request.adapter for request in playing.requests] == ["sql", "sql", None]


async def test_an_unknown_adapter_is_not_found_and_the_known_are_listed() -> None:
    async with serving(engine(), ADAPTED) as client:
        answer = await client.post("/v1/chat/completions", chat(model="double:fr"))
    assert (answer.status, answer.error["code"]) == (404, "model_not_found")
    assert "double, double:sql" in answer.error["message"]


@pytest.mark.parametrize("path", ["/v1/models/other", "/v1/models/double/", "/v1/models/", "/v1/models/doubl"])
async def test_an_unknown_id_is_not_found_in_the_envelope(path: str) -> None:
    async with serving(engine()) as client:
        answer = await client.get(path)
    assert (answer.status, answer.error["code"]) == (404, "model_not_found")


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/v1/nothing", 404, None),
        ("GET", "/v1/chat/completions", 405, "POST"),
        ("DELETE", "/v1/models", 405, "GET"),
        ("GET", "/v1/chat/completions/", 404, None),
        ("OPTIONS", "/v1/completions", 405, "POST"),
    ],
)
async def test_what_does_not_route_is_an_error_in_the_envelope(
    method: str, path: str, status: int, allow: str | None
) -> None:
    async with serving(engine()) as client:
        answer = await client.ask(method, path)
    assert (answer.status, answer.error["type"]) == (status, "invalid_request_error")
    assert (allow is None) or allow in answer.headers["allow"]
