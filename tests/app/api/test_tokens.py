"""Tokenising over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from tests.app.serving import engine, serving


async def post(path: str, **fields: Any) -> Any:
    async with serving(engine()) as client:
        answer = await client.post(path, fields)
    assert answer.status == 200, answer.body
    return answer.json


@pytest.mark.parametrize("field", ["content", "prompt"])
async def test_a_text_becomes_token_ids(field: str) -> None:
    assert await post("/tokenize", **{field: "Hi"}) == {"tokens": [72, 105]}


async def test_special_tokens_are_added_if_asked_for() -> None:
    assert await post("/tokenize", content="Hi", add_special=True) == {"tokens": [1, 72, 105]}


async def test_pieces_come_with_their_ids() -> None:
    assert await post("/tokenize", content="H", with_pieces=True) == {"tokens": [{"id": 72, "piece": "H"}]}


async def test_a_piece_of_a_character_comes_as_bytes() -> None:
    pieces = (await post("/tokenize", content="é", with_pieces=True))["tokens"]
    assert pieces == [{"id": 0xC3, "piece": [0xC3]}, {"id": 0xA9, "piece": [0xA9]}]


async def test_an_empty_text_has_no_tokens() -> None:
    assert await post("/tokenize", content="") == {"tokens": []}


async def test_token_ids_become_a_text() -> None:
    assert await post("/detokenize", tokens=[72, 105]) == {"content": "Hi"}
    assert await post("/detokenize", tokens=[], model="double") == {"content": ""}


@pytest.mark.parametrize(
    ("path", "fields", "status", "param"),
    [
        ("/tokenize", {}, 400, "content"),
        ("/tokenize", {"content": "a", "prompt": "b"}, 400, "content"),
        ("/tokenize", {"content": 5}, 400, "content"),
        ("/tokenize", {"content": "a", "colour": 1}, 400, "colour"),
        ("/tokenize", {"content": "a", "model": "other"}, 404, "model"),
        ("/detokenize", {}, 400, "tokens"),
        ("/detokenize", {"tokens": [-1]}, 400, "tokens[0]"),
        ("/detokenize", {"tokens": [2**40]}, 400, "tokens[0]"),
        ("/detokenize", {"tokens": [300]}, 400, "tokens"),
    ],
)
async def test_bad_requests_name_the_field(path: str, fields: dict[str, Any], status: int, param: str) -> None:
    async with serving(engine()) as client:
        answer = await client.post(path, fields)
    assert (answer.status, answer.error["param"]) == (status, param)
