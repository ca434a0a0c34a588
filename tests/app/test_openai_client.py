"""The official client, with strict validation, against `python -m app` with the stub engine in its worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from app.settings.sections import STATIC_EMBEDDER_ID
from tests.serving import serving

KEY = "test-key"
MODEL = "org/stub"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A running server; whatever these tests do to it, nothing unexpected may stand in its log."""
    with serving(JARVIS_MODEL_ALIAS=MODEL, JARVIS_API_KEYS=KEY) as server:
        yield server.url
        log = server.log.read_text()
    assert "Traceback" not in log, log


@pytest.fixture
def client(url: str) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0, _strict_response_validation=True) as found:
        yield found


@pytest.fixture
async def async_client(url: str) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0, _strict_response_validation=True) as found:
        yield found


def user(content: str) -> list[Any]:
    return [{"role": "user", "content": content}]


def test_models(client: OpenAI) -> None:
    assert [model.id for model in client.models.list()] == [MODEL, STATIC_EMBEDDER_ID]
    assert client.models.retrieve(MODEL).id == MODEL


def test_chat(client: OpenAI) -> None:
    answer = client.chat.completions.create(model=MODEL, messages=user("naïve 😀"))
    assert answer.choices[0].message.content == "naïve 😀"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage and answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_a_streamed_chat_with_usage(client: OpenAI) -> None:
    plain = client.chat.completions.create(model=MODEL, messages=user("one two three"))
    stream = client.chat.completions.create(
        model=MODEL, messages=user("one two three"), stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1]) == "one two three"
    assert chunks[-1].usage == plain.usage


def test_the_stream_helper_builds_the_same_message(client: OpenAI) -> None:
    with client.chat.completions.stream(model=MODEL, messages=user("one two")) as stream:
        assert stream.get_final_completion().choices[0].message.content == "one two"


def test_several_choices(client: OpenAI) -> None:
    answer = client.chat.completions.create(model=MODEL, messages=user("a"), n=3)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]


def test_completions_of_several_prompts(client: OpenAI) -> None:
    answer = client.completions.create(model=MODEL, prompt=["a b", "c"], n=2)
    assert [choice.text for choice in answer.choices] == ["a b", "a b", "c", "c"]


def test_a_streamed_completion(url: str) -> None:
    texts = {0: "", 1: ""}
    # The client's own type of a completion's choice does not allow the null that OpenAI sends before the end.
    with OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0) as client:
        chunks = list(client.completions.create(model=MODEL, prompt=["a b", "c"], stream=True))
    for chunk in chunks:
        texts[chunk.choices[0].index] += chunk.choices[0].text
    assert texts == {0: "a b", 1: "c"}


def test_stop_and_length(client: OpenAI) -> None:
    stopped = client.chat.completions.create(model=MODEL, messages=user("one two three"), stop="two")
    assert (stopped.choices[0].message.content, stopped.choices[0].finish_reason) == ("one ", "stop")
    cut = client.chat.completions.create(model=MODEL, messages=user("one two three"), max_completion_tokens=1)
    assert cut.choices[0].finish_reason == "length"
    empty = client.chat.completions.create(model=MODEL, messages=user("one"), max_tokens=0)
    assert (empty.choices[0].message.content, empty.choices[0].finish_reason) == ("", "length")


@pytest.mark.parametrize(
    ("fields", "error", "code"),
    [
        ({"model": "gpt-5"}, openai.NotFoundError, "model_not_found"),
        ({"temperature": 99}, openai.BadRequestError, "invalid_value"),
        ({"messages": []}, openai.BadRequestError, "invalid_value"),
        ({"extra_body": {"guided": 1}}, openai.BadRequestError, "unknown_parameter"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, openai.BadRequestError, "unsupported_parameter"),
        ({"messages": user("x" * 1_000_000)}, openai.BadRequestError, "context_length_exceeded"),
        ({"messages": user('{"error": "capacity"}')}, openai.InternalServerError, "capacity"),
        ({"messages": user('{"error": "engine_timeout"}')}, openai.InternalServerError, "engine_timeout"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_errors_by_class(
    client: OpenAI, fields: dict[str, Any], error: type[openai.APIStatusError], code: str, stream: bool
) -> None:
    with pytest.raises(error) as caught:
        client.chat.completions.create(**{"model": MODEL, "messages": user("Hi"), "stream": stream, **fields})
    assert caught.value.code == code


def test_a_wrong_key(url: str) -> None:
    with (
        OpenAI(base_url=f"{url}/v1", api_key="wrong", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError) as caught,
    ):
        client.models.list()
    assert caught.value.code == "invalid_api_key"


def test_an_error_in_mid_stream_is_raised(client: OpenAI) -> None:
    stream = client.chat.completions.create(
        model=MODEL, messages=user('{"tokens": 5, "fail_at": 3, "error": "engine_error"}'), stream=True
    )
    with pytest.raises(openai.APIError, match="the script failed"):
        for _ in stream:
            pass


def test_a_worker_killed_in_mid_stream_is_an_error_and_the_next_request_works(client: OpenAI) -> None:
    stream = client.chat.completions.create(model=MODEL, messages=user('{"tokens": 5, "crash_at": 3}'), stream=True)
    with pytest.raises(openai.APIError) as caught:
        for _ in stream:
            pass
    assert caught.value.code == "engine_crashed"
    assert client.chat.completions.create(model=MODEL, messages=user("back")).choices[0].message.content == "back"


def test_a_body_sent_in_chunks_is_counted(url: str) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(50):
            yield b" " * 100_000

    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    answer = httpx.post(f"{url}/v1/chat/completions", content=chunks(), headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large")


async def test_eight_streams_at_once_say_what_each_says_alone(async_client: AsyncOpenAI) -> None:
    async def read(text: str) -> str:
        stream = await async_client.chat.completions.create(model=MODEL, messages=user(text), stream=True)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    texts = [f"request {number} " * 20 for number in range(8)]
    assert await asyncio.gather(*map(read, texts)) == texts


async def test_a_client_that_leaves_stops_the_engine(async_client: AsyncOpenAI, url: str) -> None:
    forever = user('{"tokens": 8000, "delay_ms": 20}')
    stream = await async_client.chat.completions.create(model=MODEL, messages=forever, stream=True)
    await anext(aiter(stream))
    await stream.close()
    with pytest.raises(openai.APITimeoutError):
        await async_client.chat.completions.create(model=MODEL, messages=forever, timeout=0.2)
    assert (await async_client.chat.completions.create(model=MODEL, messages=user("Hi"))).choices
    assert httpx.get(f"{url}/health").json()["status"] == "ok"
