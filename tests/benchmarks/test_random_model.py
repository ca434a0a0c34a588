"""The model of random weights, in its smallest shape: llama.cpp loads it, and every token prints text."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import llama_cpp
import numpy as np
import pytest

from benchmarks.prompts import prompts_for
from benchmarks.random_model import FIRST_WORD, Shape, banned, cached, token_texts, word, write

SHAPE = Shape(layers=2, width=128, vocabulary=600, context=512)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cached(tmp_path_factory.mktemp("models"), SHAPE)


@pytest.fixture(scope="module")
def model(path: Path) -> Iterator[llama_cpp.Llama]:
    loaded = llama_cpp.Llama(str(path), n_ctx=SHAPE.context, n_threads=1, verbose=False)
    yield loaded
    loaded.close()


def test_a_prompt_of_words_has_as_many_tokens(model: llama_cpp.Llama, path: Path) -> None:
    text = prompts_for(path).text(100, "key")
    assert len(model.tokenize(text.encode(), add_bos=False)) == 100


def test_every_token_that_is_drawn_prints_text_and_none_ends_the_answer(model: llama_cpp.Llama) -> None:
    for temperature in (0.0, 1.0):
        sampling = {"temperature": temperature, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
        pieces = list(model.create_completion(" baba", max_tokens=200, stream=True, seed=1, **sampling))
        texts = [piece["choices"][0]["text"] for piece in pieces[:-1]]
        assert len(texts) == 200
        assert all(text.strip() for text in texts)


def test_what_is_banned_is_unlikely_by_a_wide_margin_and_the_others_differ(model: llama_cpp.Llama) -> None:
    model.reset()
    model.eval(model.tokenize(b" baba beba biba", add_bos=False))
    logits = np.ctypeslib.as_array(model._ctx.get_logits(), (SHAPE.vocabulary,))
    never = banned(SHAPE.vocabulary)
    assert logits[never].max() < logits[~never].min()
    assert logits[~never].std() > 2


def test_it_has_a_chat_template(model: llama_cpp.Llama) -> None:
    answer = model.create_chat_completion([{"role": "user", "content": "Hello"}], max_tokens=4, temperature=0)
    assert answer["choices"][0]["message"]["content"].strip()


def test_the_same_seed_writes_the_same_file(path: Path, tmp_path: Path) -> None:
    write(tmp_path / "again.gguf", SHAPE)
    write(tmp_path / "other.gguf", SHAPE, seed=1)
    assert (tmp_path / "again.gguf").read_bytes() == path.read_bytes()
    assert (tmp_path / "other.gguf").read_bytes() != path.read_bytes()
    assert len(list(tmp_path.iterdir())) == 2


def test_tokens_and_words_are_all_different() -> None:
    assert len({word(number) for number in range(160_000)}) == 160_000
    for vocabulary in (FIRST_WORD + 1, 32_000, 152_000):
        assert len(set(token_texts(vocabulary))) == vocabulary


def test_the_default_has_half_a_billion_parameters() -> None:
    shape = Shape()
    layer = 2 * shape.width * (shape.width + shape.kv_heads * 64) + 3 * shape.width * shape.inner
    assert 0.45e9 < shape.layers * layer + 2 * shape.vocabulary * shape.width < 0.55e9


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--layers=0", "layers is 0; it must be at least 1"),
        ("--width=100", "width is 100; it must be a multiple of 64"),
        ("--vocabulary=300", "vocabulary is 300; it must be at least 360"),
    ],
)
def test_a_shape_that_cannot_be_is_refused(argument: str, message: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.random_model", str(tmp_path / "x.gguf"), argument]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert message in done.stderr
    assert not list(tmp_path.iterdir())
