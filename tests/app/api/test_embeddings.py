"""`POST /v1/embeddings`: what goes in, what comes out, and what is refused by name."""

from __future__ import annotations

import asyncio
import struct
from base64 import b64decode
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from app.api.embeddings import MAX_INPUTS
from app.settings.sections import EmbeddingSettings
from backends.base import EngineCrashedError
from backends.stub_embedder import WIDTH, StubEmbedder
from backends.types import EngineConfig
from tests.app.asgi import Client
from tests.app.doubles import OnePool, ScriptedEngine
from tests.app.serving import serving, settings_with

PATH = "/v1/embeddings"
SETTINGS = settings_with(embedding=EmbeddingSettings(name="/m/vectors.gguf"))
TEXTS = ["two words", "naïve 😀", "two words"]


def embedder() -> StubEmbedder:
    return StubEmbedder(EngineConfig(engine="stub", model="m", alias="vectors", cache_dir="", task="embed"))


@asynccontextmanager
async def embedding(*engines: StubEmbedder | ScriptedEngine | Exception) -> AsyncGenerator[tuple[Client, OnePool]]:
    """The application, and its pool, which lends the engines under the embedding model's name."""
    pool = OnePool(*(engines or (embedder(),)), expert_id="vectors")
    async with serving(pool, SETTINGS) as client:
        yield client, pool


async def ask(**fields: Any) -> dict[str, Any]:
    async with embedding() as (client, _pool):
        answer = await client.post(PATH, fields)
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"] == "application/json"
    assert int(answer.headers["content-length"]) == len(answer.body)
    return dict(answer.json)


async def numbers(*inputs: str | list[int], dimensions: int | None = None) -> list[list[float]]:
    found = await embedder().embed(inputs, dimensions=dimensions)
    return [list(struct.unpack(f"<{len(item.vector) // 4}f", item.vector)) for item in found]


async def test_a_text_has_a_vector() -> None:
    [vector] = await numbers("two words")
    assert await ask(input="two words") == {
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": vector}],
        "model": "vectors",
        "usage": {"prompt_tokens": 2, "total_tokens": 2},
    }


async def test_texts_keep_their_order_and_their_tokens_are_summed() -> None:
    answer = await ask(input=TEXTS, model="vectors")
    assert [item["index"] for item in answer["data"]] == [0, 1, 2]
    assert [item["embedding"] for item in answer["data"]] == await numbers(*TEXTS)
    tokens = sum(item.tokens for item in await embedder().embed(TEXTS))
    assert answer["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}


async def test_token_ids_are_one_input_and_lists_of_them_are_several() -> None:
    ids = [piece.id for piece in await embedder().tokenize("a b")]
    assert [item["embedding"] for item in (await ask(input=ids))["data"]] == await numbers("a b")
    several = await ask(input=[ids, "c", ids[:1]])
    assert [item["embedding"] for item in several["data"]] == await numbers("a b", "c", "a")


async def test_base64_holds_exactly_the_same_numbers() -> None:
    plain, packed = await ask(input=TEXTS), await ask(input=TEXTS, encoding_format="base64")
    assert plain == await ask(input=TEXTS, encoding_format="float")
    for one, other in zip(plain["data"], packed["data"], strict=True):
        assert list(struct.unpack(f"<{WIDTH}f", b64decode(other["embedding"]))) == one["embedding"]
    assert plain["usage"] == packed["usage"]


async def test_dimensions_reach_the_engine() -> None:
    answer = await ask(input="two words", dimensions=4)
    assert [item["embedding"] for item in answer["data"]] == await numbers("two words", dimensions=4)


@pytest.mark.parametrize("model", [None, "default", "auto"])
async def test_no_name_means_the_embedding_model(model: str | None) -> None:
    assert (await ask(input="x", model=model))["model"] == "vectors"


async def test_a_user_is_accepted_and_said_to_be_ignored() -> None:
    async with embedding() as (client, _pool):
        answer = await client.post(PATH, {"input": "x", "user": "somebody"})
    assert (answer.status, answer.headers["x-jarvis-ignored"]) == (200, "user")


async def test_the_longest_list_is_answered() -> None:
    assert len((await ask(input=["x"] * MAX_INPUTS, encoding_format="base64"))["data"]) == MAX_INPUTS


@pytest.mark.parametrize(
    ("fields", "status", "param", "code"),
    [
        ({}, 400, "input", "invalid_value"),
        ({"input": None}, 400, "input", "invalid_value"),
        ({"input": ""}, 400, "input", "invalid_value"),
        ({"input": []}, 400, "input", "invalid_value"),
        ({"input": ["a", ""]}, 400, "input[1]", "invalid_value"),
        ({"input": ["a", []]}, 400, "input[1]", "invalid_value"),
        ({"input": ["a", 5]}, 400, "input[1]", "invalid_value"),
        ({"input": [5, "a"]}, 400, "input[0]", "invalid_value"),
        ({"input": ["a", {"text": "b"}]}, 400, "input[1]", "invalid_value"),
        ({"input": [[-1]]}, 400, "input[0][0]", "invalid_value"),
        ({"input": ["x"] * (MAX_INPUTS + 1)}, 400, "input", "invalid_value"),
        ({"input": ["a", "word " * 600]}, 400, "input[1]", "context_length_exceeded"),
        ({"input": ["word " * 600]}, 400, "input[0]", "context_length_exceeded"),
        ({"input": "word " * 600}, 400, "input", "context_length_exceeded"),
        ({"input": "x", "dimensions": 0}, 400, "dimensions", "invalid_value"),
        ({"input": "x", "dimensions": WIDTH + 1}, 400, "dimensions", "invalid_value"),
        ({"input": "x", "encoding_format": "hex"}, 400, "encoding_format", "invalid_value"),
        ({"input": "x", "colour": "red"}, 400, "colour", "unknown_parameter"),
        ({"input": "x", "model": "text-embedding-3-small"}, 404, "model", "model_not_found"),
        ({"input": "x", "model": "double"}, 400, "model", "unsupported_parameter"),
    ],
)
async def test_bad_requests_name_the_field(fields: dict[str, Any], status: int, param: str, code: str) -> None:
    async with embedding() as (client, pool):
        answer = await client.post(PATH, fields)
    assert (answer.status, answer.error["code"], pool.leased) == (status, code, 0)
    assert answer.error["param"] == param, answer.error


async def test_the_message_about_a_single_input_names_no_list() -> None:
    async with embedding() as (client, _pool):
        answer = await client.post(PATH, {"input": "word " * 600})
    assert answer.error["message"].startswith("input has 601 tokens")


async def test_a_chat_model_is_refused_with_the_name_of_the_right_one() -> None:
    async with embedding() as (client, pool):
        answer = await client.post(PATH, {"input": "x", "model": "double"})
    assert "'double' makes no embeddings; 'vectors' does" in answer.error["message"]
    assert pool.leases == 0


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "Hi"}]}),
        ("/v1/completions", {"prompt": "Hi"}),
    ],
)
async def test_the_embedding_model_is_refused_where_text_is_asked_for(path: str, fields: dict[str, Any]) -> None:
    async with embedding() as (client, pool):
        answer = await client.post(path, {"model": "vectors", **fields})
    assert (answer.status, answer.error["param"], pool.leases) == (400, "model", 0)
    assert "writes no text" in answer.error["message"]


async def test_the_models_list_has_both() -> None:
    async with embedding() as (client, _pool):
        listed = [model["id"] for model in (await client.get("/v1/models")).json["data"]]
        shown = (await client.get("/v1/models/vectors")).json["id"]
        default = (await client.get("/v1/models/default")).json["id"]
    assert (listed, shown, default) == (["double", "vectors"], "vectors", "double")


async def test_its_tokens_can_be_asked_for_by_name() -> None:
    async with embedding() as (client, _pool):
        answer = await client.post("/tokenize", {"content": "two words", "model": "vectors"})
    assert len(answer.json["tokens"]) == 2


async def test_a_failure_is_a_status() -> None:
    async with embedding() as (client, _pool):
        answer = await client.post(PATH, {"input": '{"error": "capacity"}'})
    assert (answer.status, answer.error["code"]) == (503, "capacity")
    assert answer.headers["retry-after"] == "1"


@pytest.mark.parametrize(("crashes", "status"), [(1, 200), (2, 503)])
async def test_a_crash_is_tried_once_more(crashes: int, status: int) -> None:
    async with embedding(*[EngineCrashedError("it died")] * crashes, embedder()) as (client, _pool):
        answer = await client.post(PATH, {"input": "x"})
    assert answer.status == status


async def test_a_client_that_leaves_ends_the_work() -> None:
    hanging = embedder()
    async with embedding(hanging) as (client, pool):
        exchange = client.start(PATH, {"input": '{"hang_at": 0}'})
        while not (await hanging.stats())["running"]:
            await asyncio.sleep(0)
        assert pool.leased == 1
        exchange.leave()
        await exchange.finished()
        assert ((await hanging.stats())["running"], pool.leased) == (0, 0)
    assert exchange.status == 0


async def test_a_large_answer_lets_others_have_their_turn() -> None:
    async with embedding() as (client, _pool):
        large = client.start(PATH, {"input": ["x"] * MAX_INPUTS})
        answer = await client.get("/health/live")
        assert (answer.status, large.complete) == (200, False)
        await large.finished()
    assert len(msgspec.json.decode(large.body)["data"]) == MAX_INPUTS
