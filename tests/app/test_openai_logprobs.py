"""Log-probabilities through the official client, with strict validation where its types allow what OpenAI sends."""

from __future__ import annotations

from collections.abc import Iterator
from math import log
from typing import Any

import httpx
import pytest
from openai import OpenAI

from tests.serving import serving

MODEL = "org/stub"
TEXT = "one naïve 😀"
TOKENS = ["one", " na", "ï", "ve", " ", "😀"]
MESSAGES: list[Any] = [{"role": "user", "content": TEXT}]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(JARVIS_MODEL_ALIAS=MODEL) as server:
        yield f"{server.url}/v1"


@pytest.fixture
def client(url: str) -> Iterator[OpenAI]:
    with OpenAI(base_url=url, api_key="-", max_retries=0, _strict_response_validation=True) as found:
        yield found


@pytest.fixture
def lenient(url: str) -> Iterator[OpenAI]:
    """Its types of completions know neither a token without probability nor a choice that has not ended."""
    with OpenAI(base_url=url, api_key="-", max_retries=0) as found:
        yield found


def test_a_chat(client: OpenAI) -> None:
    choice = client.chat.completions.create(model=MODEL, messages=MESSAGES, logprobs=True, top_logprobs=2).choices[0]
    assert choice.logprobs and choice.logprobs.content
    assert choice.message.content == TEXT
    assert [entry.token for entry in choice.logprobs.content] == TOKENS
    assert [bytes(entry.bytes or ()) for entry in choice.logprobs.content] == [token.encode() for token in TOKENS]
    assert choice.logprobs.content[0].logprob == pytest.approx(-3 * log(2))
    assert all(len(entry.top_logprobs) == 2 for entry in choice.logprobs.content)


def test_a_streamed_chat_accumulates_to_the_plain_one(client: OpenAI) -> None:
    asked: Any = {"model": MODEL, "messages": MESSAGES, "n": 2, "logprobs": True, "top_logprobs": 20}
    plain = client.chat.completions.create(**asked)
    with client.chat.completions.stream(**asked) as stream:
        streamed = stream.get_final_completion()
    assert [choice.logprobs.content for choice in streamed.choices if choice.logprobs] == [
        choice.logprobs.content for choice in plain.choices if choice.logprobs
    ]
    assert len(plain.choices) == 2 and all(choice.logprobs for choice in plain.choices)


def test_a_stop_text_leaves_no_entry_in_a_chat(client: OpenAI) -> None:
    asked: Any = {"model": MODEL, "messages": MESSAGES, "stop": "naï", "logprobs": True}
    choice = client.chat.completions.create(**asked).choices[0]
    assert choice.logprobs and choice.logprobs.content
    assert choice.message.content == "one "
    assert [entry.token for entry in choice.logprobs.content] == ["one", " na"]


def test_a_completion(client: OpenAI) -> None:
    choice = client.completions.create(model=MODEL, prompt=TEXT, logprobs=3).choices[0]
    assert choice.logprobs
    assert choice.logprobs.tokens == TOKENS
    assert choice.logprobs.text_offset == [0, 3, 6, 7, 9, 10]
    assert choice.logprobs.token_logprobs and choice.logprobs.top_logprobs
    for token, logprob, top in zip(TOKENS, choice.logprobs.token_logprobs, choice.logprobs.top_logprobs, strict=True):
        assert top[token] == logprob


@pytest.mark.parametrize("max_tokens", [0, 1])
def test_a_prompt_is_scored_as_evaluation_harnesses_do(lenient: OpenAI, max_tokens: int) -> None:
    """As lm-evaluation-harness reads it: slices by token counts, and the greedy test compares for equality."""
    asked: Any = {"model": MODEL, "prompt": TEXT, "echo": True, "logprobs": 5, "temperature": 0}
    choice = lenient.completions.create(max_tokens=max_tokens, **asked).choices[0]
    assert choice.logprobs and choice.logprobs.token_logprobs and choice.logprobs.top_logprobs
    assert len(choice.logprobs.token_logprobs) == len(choice.logprobs.top_logprobs) == len(TOKENS) + max_tokens
    scored = list(zip(choice.logprobs.token_logprobs, choice.logprobs.top_logprobs, strict=True))[1 : len(TOKENS)]
    assert [logprob for logprob, _ in scored] == pytest.approx([-place * log(2) for place in (3, 2, 2, 1, 4)])
    assert [logprob == max(top.values()) for logprob, top in scored] == [False, False, False, True, False]
    assert choice.logprobs.token_logprobs[0] is None and choice.logprobs.top_logprobs[0] is None
    assert choice.text == TEXT + TOKENS[0] * max_tokens


def test_a_streamed_completion_of_several_prompts(lenient: OpenAI) -> None:
    asked: Any = {"model": MODEL, "prompt": [TEXT, "two"], "echo": True, "logprobs": 1, "n": 2}
    plain = lenient.completions.create(**asked).choices
    joined: list[dict[str, list[Any]]] = [{} for _ in plain]
    for chunk in lenient.completions.create(stream=True, **asked):
        [choice] = chunk.choices
        for name, items in (choice.logprobs.model_dump() if choice.logprobs else {}).items():
            joined[choice.index].setdefault(name, []).extend(items)
    assert joined == [choice.logprobs.model_dump() for choice in plain if choice.logprobs]
    assert plain[0].logprobs and plain[0].logprobs.tokens == TOKENS * 2
    assert plain[0].logprobs.text_offset == [0, 3, 6, 7, 9, 10, 11, 14, 17, 18, 20, 21]


def test_token_ids_can_be_scored(lenient: OpenAI, url: str) -> None:
    text = "ab cd ef"  # the wire takes ids of 31 bits, those of the stub spell their tokens
    ids = httpx.post(f"{url.removesuffix('/v1')}/tokenize", json={"content": text}).json()["tokens"]
    by_text, by_ids = (
        lenient.completions.create(model=MODEL, prompt=prompt, echo=True, logprobs=1, max_tokens=0).choices[0]
        for prompt in (text, ids)
    )
    assert by_text.logprobs and by_text.logprobs.tokens == ["ab", " cd", " ef"]
    assert by_text.logprobs == by_ids.logprobs
