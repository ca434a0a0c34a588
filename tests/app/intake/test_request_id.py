"""Names of requests, and the access log."""

from __future__ import annotations

import logging

import pytest

from tests.app.asgi import JSON
from tests.app.serving import chat, engine, serving


async def request_id(given: str | None) -> str:
    async with serving(engine()) as client:
        answer = await client.ask("GET", "/health", headers={"x-request-id": given} if given is not None else {})
        return answer.headers["x-request-id"]


@pytest.mark.parametrize("given", ["abc", "9f1c-22.a_b:c", "x" * 128])
async def test_a_sane_id_of_the_client_is_kept(given: str) -> None:
    assert await request_id(given) == given


@pytest.mark.parametrize("given", [None, "", "x" * 129, "a b", 'a"b', "a\tb", "é", "<script>"])
async def test_any_other_id_is_replaced(given: str | None) -> None:
    assert (await request_id(given)).startswith("req_")


async def test_fresh_ids_differ() -> None:
    assert await request_id(None) != await request_id(None)


@pytest.mark.parametrize(
    ("path", "value", "status"),
    [("/v1/chat/completions", chat(), 200), ("/v1/chat/completions", 1, 400), ("/x", 1, 404)],
)
async def test_every_answer_has_an_id(path: str, value: object, status: int) -> None:
    async with serving(engine()) as client:
        answer = await client.post(path, value)
        assert answer.status == status
        assert answer.headers["x-request-id"]


async def test_one_line_per_request_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "app.intake")
    async with serving(engine()) as client:
        await client.ask("POST", "/v1/none", b"{}", headers=JSON | {"x-request-id": "my-id"})
    (line,) = [record.getMessage() for record in caplog.records if record.name == "app.intake.request_id"]
    assert line.startswith("POST /v1/none 404 ")
    assert line.endswith(" ms my-id")


async def test_a_path_cannot_write_into_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "app.intake")
    async with serving(engine()) as client:
        await client.get("/a\nforged line")
    (line,) = [record.getMessage() for record in caplog.records if record.name == "app.intake.request_id"]
    assert line.startswith("GET /a%0Aforged%20line 404 ")
