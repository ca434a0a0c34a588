"""What the constraint compiler gets to know of a vocabulary."""

from __future__ import annotations

from functools import cache

import pytest

from backends.constraints.token_bytes import TokenBytes
from tests.backends.chat_formats.vocabularies import vocabulary

FAMILIES = ("llama-bpe", "phi-3", "llama-spm", "deepseek-coder")
TEXTS = (
    '{"name":"',
    "abc",
    " abc",
    '\n  "x": 1',
    "é日本語",
    "   ",
    "\t\t\n",
    "<|im_end|></s><s>",
    "<|begin_of_text|><|eot_id|>",
    "a" * 5_000,
    " " * 5_000,
)


@cache
def token_bytes(name: str) -> TokenBytes:
    return TokenBytes(vocabulary(name))


@pytest.mark.parametrize("name", FAMILIES)
def test_tokens_with_a_meaning_are_no_text(name: str) -> None:
    vocab, tokens = vocabulary(name), token_bytes(name).tokens
    assert len(tokens) == vocab.size
    meaning = vocab.end_of_generation | {i for i in vocab.control_tokens.values() if not vocab.piece(i)}
    assert meaning
    assert all(not tokens[token] or tokens[token].startswith(b"\xff") for token in meaning)


@pytest.mark.parametrize("name", FAMILIES)
def test_ordinary_tokens_stand_for_their_text(name: str) -> None:
    vocab, tokens = vocabulary(name), token_bytes(name).tokens
    ordinary = [token for token in range(vocab.size) if tokens[token] and not tokens[token].startswith(b"\xff")]
    assert len(ordinary) > 0.95 * vocab.size
    assert all(tokens[token] == vocab.piece(token) for token in ordinary)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("text", TEXTS, ids=lambda text: text[:12])
def test_forced_text_is_spelled_exactly_and_without_control_tokens(name: str, text: str) -> None:
    known = token_bytes(name)
    for given in (text, text.encode()):
        spelled = b"".join(known.tokens[token] for token in known(given))
        assert spelled
        assert text.encode().startswith(spelled)
        assert spelled == text.encode() or len(known(given)) >= 16


@pytest.mark.parametrize("name", ["llama-bpe", "deepseek-coder"])
def test_forced_text_is_tokenised_as_the_model_does(name: str) -> None:
    for text in ('{"name": "value"}', "Hello world", "\n\n  x"):
        assert token_bytes(name)(text) == vocabulary(name).encode(text, special=False)


@pytest.mark.parametrize("name", ["llama-spm", "phi-3"])
def test_no_space_is_put_before_forced_text(name: str) -> None:
    known, vocab = token_bytes(name), vocabulary(name)
    assert [vocab.piece(token) for token in known("name")] == [b"name"]


def test_the_name_of_a_token_is_spelled_with_others() -> None:
    known, vocab = token_bytes("deepseek-coder"), vocabulary("deepseek-coder")
    name = "<|User|>"
    assert vocab.encode(name, special=False) == [vocab.user_defined_tokens[name]]
    assert len(known(name)) > 1
    assert b"".join(known.tokens[token] for token in known(name)) == name.encode()
