"""API keys."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import SecretStr
from starlette.routing import Route

from app.intake.keys import OPEN_PATHS, ApiKeys
from app.main import ROUTES
from app.settings.sections import ServerSettings
from tests.app.asgi import JSON, Client
from tests.app.serving import chat, engine, serving, settings_with

KEYS = settings_with(server=ServerSettings(api_keys=(SecretStr("first-key"), SecretStr("second-key"))))


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with serving(engine(), KEYS) as found:
        yield found


async def ask(client: Client, authorization: str) -> int:
    return (await client.ask("GET", "/v1/models", headers={"authorization": authorization})).status


@pytest.mark.parametrize("key", ["first-key", "second-key"])
async def test_any_of_the_keys_opens(client: Client, key: str) -> None:
    assert await ask(client, f"Bearer {key}") == 200
    assert await ask(client, f"bearer  {key} ") == 200


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer first",
        "Bearer first-keyy",
        "Basic first-key",
        "first-key",
        "Bearer first-key,x",
    ],
)
async def test_anything_else_is_refused(client: Client, authorization: str) -> None:
    assert await ask(client, authorization) == 401


async def test_the_refusal_is_in_the_envelope_and_says_how(client: Client) -> None:
    answer = await client.post("/v1/chat/completions", chat())
    assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "x-request-id" in answer.headers


async def test_without_configured_keys_everybody_is_served() -> None:
    async with serving(engine()) as client:
        assert (await client.get("/v1/models")).status == 200


ODD = ("{}", "{}/", "/{}", "{}?x", "/health/..{}", "/health/../..{}", "{}/health", "{}%2Fhealth", "/.{}", "{}\n")


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "FOO"])
async def test_no_route_method_or_odd_path_gets_by_without_a_key(client: Client, method: str) -> None:
    paths = {route.path for route in ROUTES if isinstance(route, Route)} | {"/nothing", "/docs", "/openapi.json"}
    for path in sorted(odd.format(path) for path in paths for odd in ODD):
        is_open = method in ("GET", "HEAD") and path in OPEN_PATHS
        status = (await client.ask(method, path, headers=JSON)).status
        assert (status == 401) != is_open, f"{method} {path}: {status}"


async def test_a_websocket_without_a_key_is_closed() -> None:
    sent: list[Any] = []

    async def nothing(*_: object) -> None:
        raise AssertionError

    async def send(message: Any) -> None:
        sent.append(message)

    keys = ApiKeys(nothing, [SecretStr("k")])
    await keys({"type": "websocket", "path": "/", "headers": []}, nothing, send)  # type: ignore[arg-type]
    assert sent == [{"type": "websocket.close", "code": 1008}]
