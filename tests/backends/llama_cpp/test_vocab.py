"""Real vocabularies: ids as llama.cpp's own tests expect them, text back byte for byte, hostile text unharmed."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import gguf
import llama_cpp
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from backends.base import ContextLengthError, InvalidRequestError
from backends.llama_cpp.vocab import Vocabulary
from tests.sdist import models, vocabulary_file

EXPECTED_ENCODINGS = ("gpt-2", "llama-bpe", "llama-spm", "phi-3", "qwen2", "deepseek-llm", "starcoder", "command-r")
ROUND_TRIPS = ("gpt-2", "llama-bpe", "qwen2")
SPACED = "Well , it 's ' so ' ! Is it n't ? Yes ."


def load(path: Path) -> Vocabulary:
    params = llama_cpp.llama_model_default_params()
    params.vocab_only = True
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), params)
    assert model
    return Vocabulary(model)


@cache
def vocabulary(name: str) -> Vocabulary:
    return load(vocabulary_file(name))


@pytest.mark.parametrize("name", EXPECTED_ENCODINGS)
def test_ids_are_those_of_the_model_s_own_tokenizer(name: str) -> None:
    texts = (models() / f"ggml-vocab-{name}.gguf.inp").read_text().split("\n__ggml_vocab_test__\n")
    lines = (models() / f"ggml-vocab-{name}.gguf.out").read_text().splitlines()
    expected = [[int(token) for token in line.split()] for line in lines]
    vocab = vocabulary(name)
    assert [vocab.encode(text, special=False) for text in texts[: len(expected)]] == expected


def test_a_whole_text_gets_the_tokens_around_it_that_llama_cpp_adds() -> None:
    for name in (*EXPECTED_ENCODINGS, "bert-bge"):
        vocab, text = vocabulary(name), b"Hello world"
        ids = (llama_cpp.llama_token * 32)()
        count = llama_cpp.llama_tokenize(vocab.handle, text, len(text), ids, 32, True, False)
        assert vocab.encode_prompt(text.decode(), special=False) == list(ids[:count])
    assert len(vocabulary("bert-bge").encode_prompt("", special=False)) == 2


@pytest.mark.parametrize("name", ROUND_TRIPS)
@given(text=st.text(max_size=60))
@example(text=SPACED)
def test_byte_level_vocabularies_give_every_text_back(name: str, text: str) -> None:
    vocab = vocabulary(name)
    ids = vocab.encode(text, special=False)
    assert vocab.decode(ids).decode() == text
    assert b"".join(vocab.piece(token) for token in ids).decode() == text


@pytest.mark.parametrize("name", ["llama-spm", "phi-3"])
@pytest.mark.parametrize("text", [SPACED, " a", "a", "  ", ""])
def test_the_space_that_a_vocabulary_adds_is_not_in_the_text(name: str, text: str) -> None:
    vocab = vocabulary(name)
    assert vocab.decode(vocab.encode(text, special=False)).decode() == text


@pytest.mark.parametrize("name", ["gpt-2", "llama-bpe", "qwen2", "llama-spm"])
@pytest.mark.parametrize("letter", ["a", " ", "7", "!", "_", "é", "\n", "世"])
def test_a_long_run_of_one_character_is_tokenised_unharmed(name: str, letter: str) -> None:
    vocab = vocabulary(name)
    text = letter * 100_000
    assert vocab.decode(vocab.encode(text, special=False)).decode() == text


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("deepseek-llm", "½1"),  # one run of numbers to the model, letters and digits to Python
        ("deepseek-coder", "a\U00031350"),  # a letter that Python's Unicode does not know yet
        ("deepseek-coder", "\n\u00a0"),
        ("gpt-2", "a" * 4095 + " "),  # nowhere a run too long, and everywhere almost one
    ],
)
def test_a_long_run_is_one_to_the_model_whatever_it_consists_of(name: str, unit: str) -> None:
    vocab = vocabulary(name)
    text = unit * (300_000 // len(unit))
    assert vocab.decode(vocab.encode(text, special=False)).decode() == text


def test_the_end_token_ends_an_answer_also_where_it_is_not_marked_as_control(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "vocab.gguf", "llama")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([*"abc", "the end"])
    writer.add_token_types([gguf.TokenType.NORMAL] * 4)
    writer.add_token_merges(["a b"])
    writer.add_eos_token_id(3)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    vocab = load(tmp_path / "vocab.gguf")
    assert "the end" not in vocab.control_tokens
    assert vocab.end_of_generation == {3}


def test_control_strings_stay_text_unless_special_is_on() -> None:
    vocab = vocabulary("llama-bpe")
    end = vocab.control_tokens["<|eot_id|>"]
    assert end not in vocab.encode("a<|eot_id|>", special=False)
    assert end in vocab.encode("a<|eot_id|>", special=True)
    assert end in vocab.end_of_generation


def test_a_prompt_gets_one_bos_even_if_it_writes_its_own() -> None:
    vocab = vocabulary("llama-bpe")
    plain = vocab.encode_prompt("Hi", special=True)
    assert plain[0] == vocab.bos
    assert vocab.encode_prompt("<|begin_of_text|>Hi", special=True) == plain


def test_no_text_of_a_token_is_longer_than_the_longest() -> None:
    vocab = vocabulary("gpt-2")
    assert max(len(vocab.piece(token)) for token in range(vocab.size)) <= vocab.longest_token


def test_a_text_that_cannot_fit_is_refused_without_being_tokenised() -> None:
    vocab = vocabulary("gpt-2")
    vocab.check_length("a" * 10 * vocab.longest_token, 10, param="prompt")
    with pytest.raises(ContextLengthError, match="10 tokens"):
        vocab.check_length("a" * (10 * vocab.longest_token + 1), 10, param="messages")


@pytest.mark.parametrize("token", [-1, 50257])
def test_an_unknown_id_is_refused_by_number(token: int) -> None:
    with pytest.raises(InvalidRequestError, match=str(token)):
        vocabulary("gpt-2").decode([token])
