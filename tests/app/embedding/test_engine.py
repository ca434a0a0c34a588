"""The static embedding as an engine, and behind `/v1/embeddings`."""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
from base64 import b64decode
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from openai import OpenAI

from app.embedding import built_in, engine
from app.embedding.engine import AT_ONCE, WINDOW, StaticEngine
from app.experts.catalog import Catalog
from app.experts.pool import EnginePool
from app.hashed_file import DamagedFileError
from app.main import create_app
from app.settings.sections import STATIC_EMBEDDER_ID, EmbeddingSettings
from backends.base import (
    ContextLengthError,
    EngineClosedError,
    InvalidRequestError,
    ModelUnavailableError,
    UnsupportedError,
)
from backends.types import GenerationRequest
from tests.app.asgi import Client, lifespan
from tests.app.serving import SETTINGS, settings_with
from tests.serving import PATIENCE_S, ROOT, environment, serving

PATH = "/v1/embeddings"
TEXTS = ["Hello, world!", "naïve 😀", "long " * AT_ONCE]


@asynccontextmanager
async def asking() -> AsyncGenerator[Client]:
    """The application with the static embedding and no other engine."""
    catalog = Catalog([Catalog.from_settings(SETTINGS).locate(STATIC_EMBEDDER_ID).expert])
    app = create_app(SETTINGS, EnginePool.from_settings(SETTINGS, catalog))
    async with lifespan(app):
        yield Client(app, {})


def static() -> StaticEngine:
    return StaticEngine("static", built_in())


def numbers(vector: bytes) -> tuple[float, ...]:
    return struct.unpack(f"<{len(vector) // 4}f", vector)


async def test_texts_and_their_ids_have_the_vectors_of_the_table() -> None:
    texts = TEXTS[:2]
    ids = [[piece.id for piece in await static().tokenize(text)] for text in texts[:1]]
    found = await static().embed([*texts, *ids])
    np.testing.assert_array_equal([numbers(item.vector) for item in found[:2]], built_in().vectors(texts))
    assert found[2] == found[0]
    assert [item.tokens for item in found] == [4, 2, 4]


async def test_dimensions_cut_and_length_stays_one() -> None:
    [found] = await static().embed(["Hello"], dimensions=8)
    assert len(numbers(found.vector)) == 8
    assert abs(np.linalg.norm(numbers(found.vector)) - 1) < 1e-5


@pytest.mark.parametrize(
    ("inputs", "dimensions", "message"),
    [
        (["a"], 0, "1 to 256"),
        (["a"], 257, "1 to 256"),
        (["a", []], None, r"input\[1\] has no tokens"),
        ([[30_522]], None, r"30522 in input\[0\] is not a token id .*0 to 30521"),
        ([[-1]], None, r"-1 in input\[0\]"),
    ],
)
async def test_what_cannot_be_embedded_is_said(inputs: list[str], dimensions: int | None, message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        await static().embed(inputs, dimensions=dimensions)


@pytest.mark.parametrize("item", ["a " * (WINDOW + 1), [5000] * (WINDOW + 1)])
async def test_more_than_the_window_is_refused(item: str | list[int]) -> None:
    with pytest.raises(ContextLengthError, match=rf"input\[1\] has {WINDOW + 1} tokens"):
        await static().embed(["fits", item])


async def test_it_writes_nothing_and_counts_what_it_embeds() -> None:
    running = static()
    with pytest.raises(UnsupportedError):
        await anext(running.stream(GenerationRequest(id="r", prompt="x")))
    await running.embed(["one two", "three"])
    stats = await running.stats()
    assert (stats["prompt_tokens_evaluated"], stats["running"], stats["waiting"]) == (3, 0, 0)


async def test_text_comes_back_in_words() -> None:
    pieces = await static().tokenize("Unbelievably, 😀😀")
    assert all(0 <= piece.id < 30_522 for piece in pieces)
    assert await static().detokenize([piece.id for piece in pieces]) == "unbelievably , [UNK]"
    assert await static().detokenize([]) == ""
    with pytest.raises(InvalidRequestError):
        await static().detokenize([30_522])


async def test_once_closed_it_says_so() -> None:
    running = static()
    await running.close()
    assert isinstance(await running.wait_closed(), EngineClosedError)
    with pytest.raises(EngineClosedError):
        await running.embed(["x"])


async def test_a_damaged_file_is_what_makes_it_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged() -> None:
        raise DamagedFileError("e.bin is damaged")

    monkeypatch.setattr(engine, "built_in", damaged)
    with pytest.raises(ModelUnavailableError, match=r"e\.bin is damaged"):
        await engine.launch("static")


@pytest.mark.parametrize("model", [None, "default", STATIC_EMBEDDER_ID])
async def test_it_answers_where_no_embedding_model_is_set(model: str | None) -> None:
    async with asking() as client:
        plain = (await client.post(PATH, {"input": TEXTS, "model": model})).json
        packed = (await client.post(PATH, {"input": TEXTS, "encoding_format": "base64", "dimensions": 16})).json
    assert (plain["model"], len(plain["data"])) == (STATIC_EMBEDDER_ID, 3)
    tokens = sum(len(built_in().tokens.encode(text)) for text in TEXTS)
    assert plain["usage"] == packed["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}
    cut = np.array(plain["data"][1]["embedding"][:16])
    np.testing.assert_allclose(numbers(b64decode(packed["data"][1]["embedding"])), cut / np.linalg.norm(cut), atol=1e-5)


async def test_errors_name_the_input_as_the_client_wrote_it() -> None:
    async with asking() as client:
        single = await client.post(PATH, {"input": [40_000]})
        listed = await client.post(PATH, {"input": ["a", "b " * (WINDOW + 1)]})
        empty = await client.post(PATH, {"input": ""})
    assert (single.status, single.error["param"]) == (400, "input")
    assert (listed.status, listed.error["param"], listed.error["code"]) == (400, "input[1]", "context_length_exceeded")
    assert (empty.status, empty.error["param"]) == (400, "input")


async def test_texts_of_nothing_but_spaces_are_answered() -> None:
    async with asking() as client:
        answer = (await client.post(PATH, {"input": "  \n"})).json
    assert answer["usage"]["prompt_tokens"] == 0
    assert abs(np.linalg.norm(answer["data"][0]["embedding"]) - 1) < 1e-5


def test_it_is_listed_only_where_it_serves() -> None:
    listed = [target.id for target in Catalog.from_settings(SETTINGS).targets("embed")]
    assert listed == [STATIC_EMBEDDER_ID]
    named = settings_with(embedding=EmbeddingSettings(name="/m/vectors.gguf"))
    assert [target.id for target in Catalog.from_settings(named).targets("embed")] == ["vectors"]


def test_the_official_client_gets_vectors_from_a_server_without_an_embedding_model() -> None:
    with serving() as server, OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        answer = client.embeddings.create(model=STATIC_EMBEDDER_ID, input=TEXTS)
        listed = [model.id for model in client.models.list()]
    np.testing.assert_allclose([item.embedding for item in answer.data], built_in().vectors(TEXTS), atol=1e-6)
    assert STATIC_EMBEDDER_ID in listed


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """A copy of the project whose embedding has one wrong byte."""
    for folder in ("app", "backends", "kernels", "models/router", "models/embedder"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    path = tmp_path / "models" / "embedder" / "embedder.bin"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    return tmp_path


def command(folder: Path, name: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "app", name],
        env=environment({"PYTHONPATH": str(folder), **variables}),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def test_a_damaged_file_is_no_start(damaged: Path) -> None:
    ran = command(damaged, "serve")
    assert ran.returncode == 2
    assert "The static embedding: " in ran.stderr
    assert "embedder.bin is damaged" in ran.stderr
    assert ran.stdout == ""


def test_a_damaged_file_matters_only_where_it_serves(damaged: Path) -> None:
    assert command(damaged, "check").returncode == 2
    assert command(damaged, "check", JARVIS_EMBEDDING_MODEL="words").returncode == 0
