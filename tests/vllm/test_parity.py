"""A client cannot tell the engines apart: the same requests, greedy and in full precision, get the same answers."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.serving import Server
from tests.vllm.asking import CHAT, COMPLETIONS, ask, events, user

QUESTIONS = (
    "Hello!",
    "Who are you?",
    "What is your name?",
    "What can you do?",
    "What is the capital of France?",
    "What is the capital of Italy?",
    "What is the capital of Japan?",
    "What is the capital of Norway and where does it lie?",
    "Write a Python function that adds two numbers.",
    "Is the sky blue? Answer yes or no.",
    "How many days has a week?",
    "Name three colours.",
    "Thank you!",
    "Good morning!",
    "What is 2 + 2?",
    "Grüße aus Zürich, 世界 👋🏽",
    "Tell me about <|im_end|> please.",
    "  two spaces\n\n\tand a tab ",
)
RAW = (
    "The capital of",
    "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\nThe",
    "def add(a, b):\n    return",
    "1, 2, 3,",
)
TURNS = [
    {"role": "system", "content": "You are brief."},
    *user("What is the capital of France?"),
    {"role": "assistant", "content": "The capital of France is Paris."},
    *user("And of Italy?"),
]
FRANCE = user("What is the capital of France?")
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 12}, "large": {"type": "boolean"}},
    "required": ["city", "large"],
    "additionalProperties": False,
}


def same(llama_cpp: Server, vllm: Server, path: str, body: dict[str, Any]) -> Any:
    """The body that both answer with."""
    expected, found = ask(llama_cpp, path, body), ask(vllm, path, body)
    assert found == expected
    return found.body


@pytest.mark.parametrize("question", QUESTIONS)
def test_greedy_chats_are_the_same(llama_cpp: Server, vllm: Server, question: str) -> None:
    body = same(llama_cpp, vllm, CHAT, {"messages": user(question), "temperature": 0, "max_tokens": 64})
    assert body["choices"][0]["message"]["content"]


@pytest.mark.parametrize("prompt", RAW)
def test_greedy_completions_are_the_same(llama_cpp: Server, vllm: Server, prompt: str) -> None:
    same(llama_cpp, vllm, COMPLETIONS, {"prompt": prompt, "temperature": 0, "max_tokens": 32})


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": TURNS},
        {"max_tokens": 0},
        {"max_tokens": 1},
        {"max_tokens": 5},
        {"stop": "is"},
        {"stop": ["nowhere", "ance is P"]},
        {"stop": " is", "include_stop_str_in_output": True},
        {"stop": "The", "min_tokens": 4},
        {"min_tokens": 20, "max_tokens": 24},
        {"ignore_eos": True, "max_tokens": 40},
        {"ignore_eos": True, "max_tokens": 40, "stop": "?"},
        {"stop_token_ids": [16]},
        {"n": 3},
        {"n": 2, "stop": "Paris"},
        {"presence_penalty": 1.5},
        {"frequency_penalty": -1.0, "max_tokens": 30},
        {"repetition_penalty": 1.3},
        {"skip_special_tokens": False},
        {"top_k": 1, "temperature": 1.0},
        {"top_p": 0.000001, "temperature": 1.0},
        {"min_p": 1.0, "temperature": 1.0},
        {"max_tokens": None},
        {"priority": 1},
        {"cache_salt": "mine"},
        {"add_generation_prompt": False, "max_tokens": 8},
    ],
    ids=str,
)
def test_parameters_mean_the_same(llama_cpp: Server, vllm: Server, fields: dict[str, Any]) -> None:
    same(llama_cpp, vllm, CHAT, {"messages": FRANCE, "temperature": 0, "max_tokens": 48, **fields})


def test_a_banned_token_never_comes(llama_cpp: Server, vllm: Server) -> None:
    tokens = httpx.post(f"{llama_cpp.url}/tokenize", json={"content": "The capital of France is Paris"}).json()[
        "tokens"
    ]
    body = {"messages": FRANCE, "temperature": 0, "max_tokens": 24, "logit_bias": {str(tokens[-1]): -100}}
    assert "Paris" not in same(llama_cpp, vllm, CHAT, body)["choices"][0]["message"]["content"]
    same(llama_cpp, vllm, CHAT, body | {"logit_bias": {str(tokens[0]): 100}, "max_tokens": 3})


@pytest.mark.parametrize(
    "constraint",
    [
        {"response_format": {"type": "json_object"}},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "city", "schema": SCHEMA}}},
        {"guided_regex": r"(yes|no), \d{3}"},
        {"guided_regex": "a*"},
        {"guided_choice": ["Paris", "Rome", "Oslo"]},
        {"grammar": 'root ::= "It is " ("Paris" | "Rome") "."'},
    ],
    ids=str,
)
@pytest.mark.parametrize("limit", [6, 80])
def test_constrained_answers_are_the_same(
    llama_cpp: Server, vllm: Server, constraint: dict[str, Any], limit: int
) -> None:
    same(llama_cpp, vllm, CHAT, {"messages": FRANCE, "temperature": 0, "max_tokens": limit, **constraint})


@pytest.mark.parametrize(
    "fields",
    [
        {"prompt": ["The capital of", "1, 2, 3,"]},
        {"prompt": [1, 5, 6, 7]},
        {"prompt": [[1, 5, 6], [7, 8]], "n": 2},
        {"prompt": "The capital of", "echo": True},
        {"prompt": "The capital of", "echo": True, "max_tokens": 0},
        {"prompt": [5, 6, 2, 7], "echo": True, "max_tokens": 2},
    ],
    ids=str,
)
def test_prompts_of_every_kind(llama_cpp: Server, vllm: Server, fields: dict[str, Any]) -> None:
    same(llama_cpp, vllm, COMPLETIONS, {"temperature": 0, "max_tokens": 8, **fields})


@pytest.mark.parametrize(
    "body",
    [
        {"messages": user("word " * 5000)},
        {"messages": user("a" * 1_000_000)},
        {"messages": user(" " * 1_000_000)},
        {"messages": []},
        {"messages": FRANCE, "logit_bias": {"999999": 1}},
        {"messages": FRANCE, "stop_token_ids": [999999]},
        {"messages": FRANCE, "guided_regex": "("},
        {"messages": FRANCE, "guided_regex": "(?=a)b"},
        {
            "messages": FRANCE,
            "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": 7}}},
        },
        {"messages": FRANCE, "grammar": "root ::= nobody"},
        {"messages": FRANCE, "n": 99},
        {"messages": FRANCE, "temperature": -1},
        {"messages": FRANCE, "min_tokens": 9, "max_tokens": 3},
        {"messages": FRANCE, "model": "nobody"},
        {"messages": FRANCE, "tools": [{"type": "function", "function": {"name": "f"}}]},
        {"messages": FRANCE, "strange": 1},
    ],
    ids=lambda body: str(body)[-60:],
)
def test_refusals_are_the_same(llama_cpp: Server, vllm: Server, body: dict[str, Any]) -> None:
    assert "error" in same(llama_cpp, vllm, CHAT, body)


@pytest.mark.parametrize("prompt", ["", [999999], [[1], []]], ids=str)
def test_prompts_that_cannot_be_are_refused_alike(llama_cpp: Server, vllm: Server, prompt: Any) -> None:
    assert "error" in same(llama_cpp, vllm, COMPLETIONS, {"prompt": prompt})


@pytest.mark.parametrize("body", [{"logprobs": True, "top_logprobs": 3}, {"logprobs": True}], ids=str)
def test_logprobs_differ_by_rounding_only(llama_cpp: Server, vllm: Server, body: dict[str, Any]) -> None:
    request = {"messages": FRANCE, "temperature": 0, "max_tokens": 24, **body}
    expected, found = (ask(server, CHAT, request).body["choices"][0]["logprobs"] for server in (llama_cpp, vllm))
    assert numbers(found) == pytest.approx(numbers(expected), abs=1e-2)
    assert words(found) == words(expected)


def test_logprobs_of_an_echoed_prompt_differ_by_rounding_only(llama_cpp: Server, vllm: Server) -> None:
    request = {"prompt": RAW[1], "temperature": 0, "max_tokens": 4, "echo": True, "logprobs": 2}
    expected, found = (ask(server, COMPLETIONS, request).body["choices"][0]["logprobs"] for server in (llama_cpp, vllm))
    assert found["tokens"] == expected["tokens"] and found["text_offset"] == expected["text_offset"]
    assert found["token_logprobs"][0] is expected["token_logprobs"][0] is None
    assert found["token_logprobs"][1:] == pytest.approx(expected["token_logprobs"][1:], abs=1e-2)
    assert [set(top or ()) for top in found["top_logprobs"]] == [set(top or ()) for top in expected["top_logprobs"]]


def numbers(logprobs: dict[str, Any]) -> list[float]:
    """Every probability, in order: of each token, then of the alternatives to it."""
    return [value["logprob"] for token in logprobs["content"] for value in (token, *token["top_logprobs"])]


def words(logprobs: dict[str, Any]) -> list[tuple[str, list[int]]]:
    """Every token's text and bytes, with those of the alternatives."""
    return [
        (value["token"], value["bytes"]) for token in logprobs["content"] for value in (token, *token["top_logprobs"])
    ]


@pytest.mark.parametrize(
    "fields", [{}, {"stream_options": {"include_usage": True}}, {"n": 2}, {"stop": "Paris"}, {"max_tokens": 2}], ids=str
)
def test_streams_have_the_same_grammar_and_text(llama_cpp: Server, vllm: Server, fields: dict[str, Any]) -> None:
    request = {"messages": FRANCE, "temperature": 0, "max_tokens": 24, **fields}
    expected, found = (shape(events(server, CHAT, request)) for server in (llama_cpp, vllm))
    assert found == expected


def shape(stream: list[Any]) -> dict[str, Any]:
    """What a stream says, whatever pieces its text comes in; and that its events stand in the right order."""
    *chunks, end = stream
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    indices = sorted({choice["index"] for choice in choices})
    by_index = {index: [choice for choice in choices if choice["index"] == index] for index in indices}
    for first, *middle, last in by_index.values():
        assert first["delta"] == {"role": "assistant", "content": None}
        assert all(set(choice["delta"]) == {"content"} and choice["delta"]["content"] for choice in middle)
        assert last["delta"] == {} and last["finish_reason"]
    return {
        "texts": ["".join(c["delta"].get("content") or "" for c in by_index[index]) for index in indices],
        "reasons": [by_index[index][-1]["finish_reason"] for index in indices],
        "usage": [chunk["usage"] for chunk in chunks if chunk.get("usage")],
        "last": end,
    }


@pytest.mark.parametrize(
    "text", ["", "Hello, World! 12345 don't", "Grüße, 世界 👋🏽 <|im_end|>", "  a\n\n b\t", "\x00\x7f"]
)
@pytest.mark.parametrize("add_special", [False, True])
def test_texts_become_the_same_tokens_and_come_back(
    llama_cpp: Server, vllm: Server, text: str, add_special: bool
) -> None:
    body = {"content": text, "add_special": add_special, "with_pieces": True}
    expected, found = (httpx.post(f"{server.url}/tokenize", json=body).json() for server in (llama_cpp, vllm))
    assert found == expected
    ids = [token["id"] for token in found["tokens"]]
    texts = [httpx.post(f"{server.url}/detokenize", json={"tokens": ids}).json() for server in (llama_cpp, vllm)]
    assert texts[0] == texts[1]


def test_what_is_served_is_described_alike(llama_cpp: Server, vllm: Server) -> None:
    expected, found = (httpx.get(f"{server.url}/v1/models").json()["data"][0] for server in (llama_cpp, vllm))
    assert {**found, "created": 0} == {**expected, "created": 0}
