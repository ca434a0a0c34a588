"""The official client against a server with both models: the bundled one writes, all-MiniLM-L6-v2 embeds."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types import CreateEmbeddingResponse

from tests import minilm
from tests.serving import PATIENCE_S, Server, serving

MODEL = "sentence/minilm"
TEXTS = ["Hello world", "Die Katze springt über den Hund.", "今天天气很好，我们去公园吧。", "Привет!", "word " * 300]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Nothing unexpected may stand in its log afterwards."""
    with serving(
        JARVIS_INFERENCE_ENGINE="llama_cpp",
        JARVIS_EMBEDDING_MODEL=str(minilm.gguf_file()),
        JARVIS_EMBEDDING_ALIAS=MODEL,
        JARVIS_N_THREADS="1",
    ) as running:
        yield running
        log = running.log.read_text()
    assert "Traceback" not in log, log


@pytest.fixture
def client(server: Server) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as found:
        yield found


@pytest.fixture
async def async_client(server: Server) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0, timeout=PATIENCE_S) as found:
        yield found


def vectors(answer: CreateEmbeddingResponse) -> Any:
    assert [item.index for item in answer.data] == list(range(len(answer.data)))
    return np.array([item.embedding for item in answer.data], np.float32)


def references(texts: Sequence[str]) -> Any:
    return np.stack([minilm.reference(text) for text in texts])


def numbers(server: Server) -> dict[str, Any]:
    """The embedding engine's counters."""
    experts = httpx.get(f"{server.url}/stats").json()["experts"]
    return next(dict(expert) for expert in experts if expert["id"] == MODEL)


def busy(found: dict[str, Any]) -> int:
    """Requests that the edge knows of, and calls that the engine still has."""
    return int(found["requests"] + found["stats"]["running"] + found["stats"]["waiting"])


def test_both_models_are_listed_and_the_default_writes(client: OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["jarvis-tiny-q8_0", MODEL]
    hello: list[Any] = [{"role": "user", "content": "Hello!"}]
    assert client.chat.completions.create(model="default", messages=hello).choices[0].message.content


def test_vectors_are_the_models_own(client: OpenAI) -> None:
    answer = client.embeddings.create(model=MODEL, input=TEXTS)
    assert (vectors(answer) * references(TEXTS)).sum(1).min() > 0.999
    assert answer.model == MODEL
    tokens = sum(len(minilm.token_ids(text)) for text in TEXTS)
    assert (answer.usage.prompt_tokens, answer.usage.total_tokens) == (tokens, tokens)


def test_float_and_base64_are_the_same(client: OpenAI, server: Server) -> None:
    packed = vectors(client.embeddings.create(model=MODEL, input=TEXTS))  # the client asks for base64 by itself
    # Its strict validation knows numbers only.
    with OpenAI(base_url=f"{server.url}/v1", api_key="none", _strict_response_validation=True) as strict:
        plain = vectors(strict.embeddings.create(model=MODEL, input=TEXTS, encoding_format="float"))
    np.testing.assert_allclose(plain, packed, atol=1e-6)


def test_one_text_and_its_token_ids_are_the_same(client: OpenAI) -> None:
    text = vectors(client.embeddings.create(model="default", input=TEXTS[0]))
    ids = vectors(client.embeddings.create(model="default", input=minilm.token_ids(TEXTS[0])))
    several = vectors(client.embeddings.create(model="auto", input=[minilm.token_ids(TEXTS[0])] * 2))
    np.testing.assert_allclose(ids, text, atol=1e-6)
    np.testing.assert_allclose(several, np.concatenate([text, text]), atol=1e-3)


def test_fewer_dimensions(client: OpenAI) -> None:
    whole = vectors(client.embeddings.create(model=MODEL, input="Hello world"))[0, :100]
    short = vectors(client.embeddings.create(model=MODEL, input="Hello world", dimensions=100))[0]
    np.testing.assert_allclose(short, whole / np.linalg.norm(whole), atol=1e-6)


@pytest.mark.parametrize(
    ("fields", "error", "param"),
    [
        ({"input": "word " * 600}, openai.BadRequestError, "input"),
        ({"input": ["x", "y" * 1_000_000]}, openai.BadRequestError, "input[1]"),
        ({"input": [30_522]}, openai.BadRequestError, "input"),
        ({"input": [[30_522]]}, openai.BadRequestError, "input[0]"),
        ({"dimensions": 385}, openai.BadRequestError, "dimensions"),
        ({"model": "jarvis-tiny-q8_0"}, openai.BadRequestError, "model"),
        ({"model": "text-embedding-3-small"}, openai.NotFoundError, "model"),
    ],
)
def test_errors_by_class(
    client: OpenAI, fields: dict[str, Any], error: type[openai.APIStatusError], param: str
) -> None:
    with pytest.raises(error) as caught:
        client.embeddings.create(**{"model": MODEL, "input": "x", **fields})
    assert caught.value.param == param


async def test_a_hundred_requests_at_once_get_their_own(async_client: AsyncOpenAI, server: Server) -> None:
    texts = [f"Request {number} is about the number {number}." for number in range(100)]
    before = numbers(server)["stats"]["inputs_embedded"]
    found = await asyncio.gather(*(async_client.embeddings.create(model=MODEL, input=text) for text in texts))
    some = slice(0, 100, 9)  # the reference takes its time
    own = np.concatenate([vectors(answer) for answer in found[some]])
    assert (own * references(texts[some])).sum(1).min() > 0.999
    assert numbers(server)["stats"]["inputs_embedded"] - before == 100


async def test_clients_that_leave_end_the_work(async_client: AsyncOpenAI, server: Server) -> None:
    large = ["A text that takes a while to embed. " * 30] * 1000
    impatient = async_client.with_options(timeout=0.5)
    left = await asyncio.gather(
        *(impatient.embeddings.create(model=MODEL, input=large) for _ in range(5)), return_exceptions=True
    )
    assert all(isinstance(error, openai.APITimeoutError) for error in left)
    assert vectors(await async_client.embeddings.create(model=MODEL, input="still here")).shape == (1, 384)
    async with asyncio.timeout(PATIENCE_S):
        while busy(numbers(server)):
            await asyncio.sleep(0.02)


def test_a_worker_that_dies_is_replaced_and_the_other_model_notices_nothing(client: OpenAI, server: Server) -> None:
    os.kill(numbers(server)["stats"]["process"]["pid"], signal.SIGKILL)
    assert (vectors(client.embeddings.create(model=MODEL, input=TEXTS)) * references(TEXTS)).sum(1).min() > 0.999
    assert client.completions.create(model="default", prompt="Hi", max_tokens=1).choices
