"""The stub's vectors: the same everywhere, near for texts with words in common, and scripted failures."""

from __future__ import annotations

import asyncio
import math
import struct

import pytest

from backends import base
from backends.stub_embedder import WIDTH, StubEmbedder
from backends.types import EngineConfig, GenerationRequest

CONFIG = EngineConfig(engine="stub", model="m", alias="vectors", cache_dir="", task="embed")


async def vectors(*inputs: str | list[int], dimensions: int | None = None) -> list[tuple[float, ...]]:
    found = await StubEmbedder(CONFIG).embed(inputs, dimensions=dimensions)
    return [struct.unpack(f"<{len(item.vector) // 4}f", item.vector) for item in found]


async def test_vectors_have_norm_one_and_are_the_same_in_every_process() -> None:
    [vector] = await vectors("two words")
    assert len(vector) == WIDTH
    assert math.hypot(*vector) == pytest.approx(1.0)
    assert vector[:3] == pytest.approx((-0.04887, 0.03468, 0.15606), abs=1e-4)


async def test_texts_with_words_in_common_are_near() -> None:
    blue, sky, code = await vectors("the blue sky", "the sky", "def f(x): return")
    assert math.dist(blue, sky) < 0.8 < 1.0 < math.dist(blue, code)


async def test_ids_mean_what_their_text_means() -> None:
    engine = StubEmbedder(CONFIG)
    ids = [piece.id for piece in await engine.tokenize("two words", add_special=True)]
    assert await vectors("two words") == await vectors(ids)
    assert await engine.detokenize(ids) == "two words"


async def test_fewer_dimensions_are_the_first_ones() -> None:
    [whole], [short] = await vectors("a b"), await vectors("a b", dimensions=4)
    assert short == pytest.approx([number / math.hypot(*whole[:4]) for number in whole[:4]])


async def test_tokens_are_counted() -> None:
    engine = StubEmbedder(CONFIG)
    assert [item.tokens for item in await engine.embed(["one", "one two three"])] == [1, 3]
    assert (await engine.stats())["prompt_tokens_evaluated"] == 4


@pytest.mark.parametrize(
    ("inputs", "dimensions", "error", "param"),
    [
        (["a", ""], None, base.InvalidRequestError, "input[1]"),
        (["a", "word " * 600], None, base.ContextLengthError, "input[1]"),
        (["a"], 0, base.InvalidRequestError, "dimensions"),
        (["a"], WIDTH + 1, base.InvalidRequestError, "dimensions"),
        (['{"error": "capacity"}'], None, base.CapacityError, None),
        (['{"colour": 1}'], None, base.InvalidRequestError, None),
    ],
)
async def test_what_cannot_be_done_is_refused(
    inputs: list[str], dimensions: int | None, error: type[base.EngineError], param: str | None
) -> None:
    with pytest.raises(error) as caught:
        await StubEmbedder(CONFIG).embed(inputs, dimensions=dimensions)
    assert caught.value.param == param


async def test_it_hangs_until_it_is_closed_and_answers_nothing_after_that() -> None:
    engine = StubEmbedder(CONFIG)
    hanging = asyncio.create_task(engine.embed(['{"hang_at": 0}']))
    while not (await engine.stats())["running"]:
        await asyncio.sleep(0)
    await engine.close()
    for call in (hanging, engine.embed(["late"])):
        with pytest.raises(base.EngineClosedError):
            await call
    assert (await engine.stats())["running"] == 0


async def test_it_writes_nothing() -> None:
    engine: base.LoadableEngine = StubEmbedder(CONFIG)
    assert (engine.capabilities.chat, engine.capabilities.embeddings) == (False, True)
    with pytest.raises(base.UnsupportedError):
        await anext(engine.stream(GenerationRequest(id="r", prompt="hi")))
