"""`POST /v1/route` and the headers that tell who answers."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr

from app.main import create_app
from app.settings import Settings
from app.settings.sections import RoutingSettings, ServerSettings
from tests.app.asgi import Client, Exchange, lifespan
from tests.app.doubles import OnePool
from tests.app.serving import chat, engine, serving, settings_with

CODE = "Write a Python function that reverses a linked list, with a docstring and unit tests for the edge cases."
EAGER = settings_with(routing=RoutingSettings(precision=0.5))


async def routed(**body: Any) -> dict[str, Any]:
    async with serving(engine(), EAGER) as client:
        exchange = await client.post("/v1/route", body)
    assert exchange.status == 200, exchange.body
    return dict(exchange.json)


async def test_a_text_is_routed_with_its_grounds() -> None:
    found = await routed(input=CODE)
    assert found["object"] == "list"
    [item] = found["data"]
    assert (item["index"], item["route"], item["expert"], item["reason"]) == (0, "coding", "double", "routed")
    assert item["confidence"] == max(item["probabilities"].values()) >= item["threshold"]
    assert sum(item["probabilities"].values()) == pytest.approx(1)
    assert 0 <= item["out_of_domain"] <= 1
    assert all(weight > 0 for _, weight in item["for"]) and item["for"]
    assert all(weight < 0 for _, weight in item["against"])


async def test_texts_are_answered_in_order() -> None:
    found = await routed(input=[CODE, "", "Bake me a cake"])
    assert [item["index"] for item in found["data"]] == [0, 1, 2]
    assert [item["tokens"] for item in found["data"]][1:] == [0, 4]
    assert found["data"][1]["route"] is None


async def test_the_timeline_has_the_steps_asked_for() -> None:
    [item] = (await routed(input=CODE, chunk_tokens=6))["data"]
    tokens = [step["tokens"] for step in item["timeline"]]
    assert tokens == sorted(tokens)
    assert len(tokens) == 4
    assert item["tokens"] == tokens[-1]


async def test_a_timeline_is_not_longer_than_its_limit() -> None:
    [item] = (await routed(input="word " * 1000, chunk_tokens=1))["data"]
    assert len(item["timeline"]) == 64
    assert item["tokens"] == 1000


async def test_of_a_conversation_what_the_user_said_counts() -> None:
    messages = [
        {"role": "system", "content": "You know the law."},
        {"role": "user", "content": f"<tool_result>A poem</tool_result>{CODE}"},
    ]
    assert await routed(messages=messages) == await routed(input=CODE)


async def test_what_was_said_before_speaks_for_its_route() -> None:
    now = {"role": "user", "content": "and in Rust?"}
    before = [{"role": "user", "content": CODE}, {"role": "assistant", "content": "def"}]
    [alone], [after] = (await routed(messages=[now]))["data"], (await routed(messages=[*before, now]))["data"]
    assert after["probabilities"]["coding"] > alone["probabilities"]["coding"]
    assert after["tokens"] == alone["tokens"] == 3


@pytest.mark.parametrize("part", [{"type": "image_url", "image_url": {"url": "data:,"}}, {"type": "input_audio"}])
async def test_images_and_sounds_are_multimodal(part: dict[str, Any]) -> None:
    [found] = (await routed(messages=[{"role": "user", "content": [part, {"type": "text", "text": "this?"}]}]))["data"]
    assert (found["route"], found["expert"], found["reason"]) == ("multimodal", "double", "routed")
    [alone] = (await routed(messages=[{"role": "user", "content": [part]}]))["data"]
    assert alone["route"] == "multimodal"


async def test_an_unknown_kind_of_part_is_refused() -> None:
    async with serving(engine()) as client:
        body = {"messages": [{"role": "user", "content": [{"type": "smell"}]}]}
        exchange = await client.post("/v1/route", body)
    assert (exchange.status, exchange.error["param"]) == (400, "messages[0].content[0]")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "input"),
        ({"input": "x", "messages": [{"role": "user", "content": "x"}]}, "input"),
        ({"input": []}, "input"),
        ({"input": ["x"] * 2049}, "input"),
        ({"input": "x", "chunk_tokens": 0}, "chunk_tokens"),
        ({"input": 3}, "input"),
        ({"input": "x", "model": "m"}, "model"),
    ],
)
async def test_what_cannot_be_routed_is_refused(body: dict[str, Any], param: str) -> None:
    async with serving(engine()) as client:
        exchange = await client.post("/v1/route", body)
    assert exchange.status == 400
    assert exchange.error["param"] == param


@pytest.mark.parametrize("model", [None, "auto", "default"])
@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_tells_what_the_router_decided(model: str | None, stream: bool) -> None:
    async with serving(engine(), EAGER) as client:
        body = chat(model=model, stream=stream) | {"messages": [{"role": "user", "content": CODE}]}
        exchange = await client.post("/v1/chat/completions", body)
    found = {name.removeprefix("x-jarvis-"): value for name, value in exchange.headers.items()}
    assert (found["expert"], found["route"], found["reason"]) == ("double", "coding", "routed")
    assert 0.5 <= float(found["confidence"]) <= 1


async def test_an_explicit_model_is_not_routed() -> None:
    async with serving(engine(), EAGER) as client:
        exchange = await client.post("/v1/chat/completions", chat(model="double"))
    assert (exchange.headers["x-jarvis-expert"], exchange.headers["x-jarvis-reason"]) == ("double", "explicit")
    assert "x-jarvis-route" not in exchange.headers


async def test_token_ids_have_nothing_to_be_routed_by() -> None:
    async with serving(engine(), EAGER) as client:
        ids = await client.post("/v1/completions", {"prompt": [1, 2, 3]})
        text = await client.post("/v1/completions", {"prompt": CODE})
    assert ids.headers["x-jarvis-reason"] == "fallback"
    assert text.headers["x-jarvis-route"] == "coding"


async def test_where_the_router_abstains_it_says_so() -> None:
    async with serving(engine(), EAGER) as client:
        exchange = await client.post("/v1/chat/completions", {"messages": [{"role": "user", "content": "?!"}]})
    assert (exchange.headers["x-jarvis-route"], exchange.headers["x-jarvis-reason"]) == ("none", "abstain")


async def test_a_lone_surrogate_is_no_accident() -> None:
    async with serving(engine(), EAGER) as client:
        exchange = await client.post("/v1/route", b'{"input": "\\ud800 x"}')
    assert exchange.status in (200, 400)


async def answered(settings: Settings, headers: dict[str, str] | None = None, **fields: Any) -> Exchange:
    async with serving(engine(), settings, headers or {}) as client:
        messages = [{"role": "user", "content": CODE}]
        return await client.post("/v1/chat/completions", chat(**fields) | {"messages": messages})


async def test_a_header_overrides_the_router() -> None:
    exchange = await answered(EAGER, {"x-jarvis-route": "multilingual_expert"})
    found = exchange.headers
    assert (found["x-jarvis-reason"], found["x-jarvis-route"]) == ("override", "multilingual")
    assert "x-jarvis-confidence" not in found
    exchange = await answered(EAGER, {"x-jarvis-expert": "double"})
    assert (exchange.headers["x-jarvis-reason"], exchange.headers["x-jarvis-expert"]) == ("override", "double")


@pytest.mark.parametrize("header", ["x-jarvis-route", "x-jarvis-expert"])
async def test_an_override_that_means_nothing_is_refused(header: str) -> None:
    exchange = await answered(EAGER, {header: "nobody"})
    assert exchange.status in (400, 404)
    assert "nobody" in exchange.error["message"]


STICKY = settings_with(routing=RoutingSettings(precision=0.5, sticky=True))


@pytest.mark.parametrize("by", ["header", "user"])
async def test_a_session_keeps_its_route(by: str) -> None:
    headers = {"x-jarvis-session": "s"} if by == "header" else {}
    fields = {} if by == "header" else {"user": "s"}
    async with serving(engine(), STICKY, headers) as client:
        for text, reason in ((CODE, "routed"), ("Tell me a story about a fox.", "sticky")):
            body = {"messages": [{"role": "user", "content": text}], **fields}
            exchange = await client.post("/v1/chat/completions", body)
            assert (exchange.headers["x-jarvis-reason"], exchange.headers["x-jarvis-route"]) == (reason, "coding")
            assert "x-jarvis-ignored" not in exchange.headers


@pytest.mark.parametrize("user", [3, "", {"name": "x"}, None])
async def test_a_user_that_names_nobody_binds_nothing(user: Any) -> None:
    async with serving(engine(), STICKY) as client:
        for _ in range(2):
            body = {"messages": [{"role": "user", "content": CODE}], "user": user}
            exchange = await client.post("/v1/chat/completions", body)
            assert (exchange.status, exchange.headers["x-jarvis-reason"]) == (200, "routed")


async def test_a_user_is_ignored_where_sessions_bind_nothing() -> None:
    exchange = await answered(EAGER, user="s")
    assert exchange.headers["x-jarvis-ignored"] == "user"


HOSTILE = (
    "",
    "x",
    "a" * 1_000_000,
    "\x00\x01\x7f",
    "Привет 数据库 ภาษาไทย",
    "QUJD" * 500,
    "1 22 333",
    "<tool_result>" * 5000,
)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
async def test_any_text_is_routed(text: str) -> None:
    [found] = (await routed(input=text))["data"]
    assert sum(found["probabilities"].values()) == pytest.approx(1)
    [spoken] = (await routed(messages=[{"role": "user", "content": text}]))["data"]
    assert spoken["expert"] == "double"


async def test_a_user_and_a_session_of_the_same_name_are_two() -> None:
    app, body = create_app(STICKY, OnePool(engine())), {"messages": [{"role": "user", "content": CODE}]}
    async with lifespan(app):
        by_header, by_user = Client(app, {"x-jarvis-session": "user bob"}), Client(app)
        asked = [(by_header, {}, "routed"), (by_header, {}, "sticky"), (by_user, {"user": "bob"}, "routed")]
        for client, fields, reason in asked:
            exchange = await client.post("/v1/chat/completions", body | fields)
            assert exchange.headers["x-jarvis-reason"] == reason


async def test_a_session_of_one_key_is_not_that_of_another() -> None:
    keys = ServerSettings(api_keys=(SecretStr("one"), SecretStr("two")))
    settings = settings_with(routing=RoutingSettings(precision=0.5, sticky=True), server=keys)
    app, body = create_app(settings, OnePool(engine())), {"messages": [{"role": "user", "content": CODE}]}
    async with lifespan(app):
        for key, reason in (("one", "routed"), ("one", "sticky"), ("two", "routed")):
            client = Client(app, {"x-jarvis-session": "s", "authorization": f"Bearer {key}"})
            exchange = await client.post("/v1/chat/completions", body)
            assert exchange.headers["x-jarvis-reason"] == reason


async def test_a_user_that_is_no_text_in_utf_8_is_refused() -> None:
    async with serving(engine(), STICKY) as client:
        body = b'{"messages": [{"role": "user", "content": "x"}], "user": "\xff"}'
        exchange = await client.post("/v1/chat/completions", body)
    assert exchange.status == 400


async def test_results_longer_than_the_router_reads_hide_no_question() -> None:
    wrapped = f"<tool_result>{'a poem about the sea ' * 3000}</tool_result>{CODE}"
    assert await routed(messages=[{"role": "user", "content": wrapped}]) == await routed(input=CODE)


async def test_an_input_is_read_as_a_request_is() -> None:
    wrapped = f"<tool_result>{'word ' * 10_000}</tool_result><user_query>{CODE}</user_query>"
    bare, same, long = (await routed(input=[CODE, wrapped, "word " * 10_000]))["data"]
    assert same["probabilities"] == bare["probabilities"]
    assert long["tokens"] < 10_000
