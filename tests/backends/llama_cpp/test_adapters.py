"""LoRA adapters on a bare context: what they change, what they leave alone, and which files are refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import llama_cpp
import numpy as np
import pytest

from backends.base import ModelUnavailableError
from backends.gguf_header import check_gguf
from backends.llama_cpp import native_log
from backends.llama_cpp.adapters import Adapters
from backends.llama_cpp.context import Context, ContextOptions
from backends.llama_cpp.model import Model
from tests.backends.llama_cpp.conftest import BUNDLED_MODEL
from tests.backends.llama_cpp.lora_files import QUERIES, idle_adapter, pair, strong_adapter, write_adapter

PROMPT = b"The sea was calm, and the boat"
LENGTH = 16


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    native_log.install("error")
    model = Model(str(BUNDLED_MODEL))
    yield model
    model.close()


@pytest.fixture
def context(model: Model) -> Iterator[Context]:
    context = Context(model, ContextOptions(cells=256, sequences=1, n_batch=64, n_threads=1))
    yield context
    context.close()


def greedy_tokens(context: Context, prompt: list[int]) -> list[int]:
    """The most probable continuation, whatever the end tokens are."""
    found: list[int] = []
    feed, position = prompt, 0
    while len(found) < LENGTH:
        context.batch.clear()
        row = context.batch.add(0, position, feed, output=1)
        context.decode()
        position += len(feed)
        feed = [int(np.argmax(context.logits(row)))]
        found += feed
    context.forget(0)
    return found


def reference_tokens(path: Path | None) -> tuple[list[int], list[int]]:
    """The prompt's tokens and their continuation, by llama-cpp-python's own class."""
    lora = str(path) if path else None
    llama = llama_cpp.Llama(str(BUNDLED_MODEL), lora_path=lora, n_ctx=256, n_threads=1, verbose=False, flash_attn=True)
    native_log.install("error")  # `Llama` has put its own log callback in the place of ours
    prompt, found = llama.tokenize(PROMPT, add_bos=False), []
    for token in llama.generate(prompt, temp=0.0, repeat_penalty=1.0):
        found.append(token)
        if len(found) == LENGTH:
            break
    llama.close()
    return prompt, found


def test_an_adapter_does_what_it_does_in_llama_cpp_itself(model: Model, context: Context, tmp_path: Path) -> None:
    path = strong_adapter(tmp_path)
    adapters = Adapters(model, {"strong": str(path)}, check_gguf(str(BUNDLED_MODEL)))
    prompt, expected = reference_tokens(path)
    _, plain = reference_tokens(None)
    adapters.use(context.handle, "strong")
    assert greedy_tokens(context, prompt) == expected != plain
    adapters.close()


def test_adapters_come_and_go_without_a_trace(model: Model, context: Context, tmp_path: Path) -> None:
    paths = {name: str(strong_adapter(tmp_path, seed)) for name, seed in (("a", 1), ("b", 2))}
    adapters = Adapters(model, paths | {"idle": str(idle_adapter(tmp_path))})
    assert adapters.names == ("a", "b", "idle")
    prompt = model.vocab.encode(PROMPT.decode(), special=False)
    said: dict[str | None, list[int]] = {}
    for name in (None, "a", "b", "idle", None, "a", None):
        adapters.use(context.handle, name)
        adapters.use(context.handle, name)
        assert said.setdefault(name, (found := greedy_tokens(context, prompt))) == found
    assert said[None] == said["idle"]
    assert len({tuple(said[name]) for name in (None, "a", "b")}) == 3
    adapters.close()
    adapters.close()


def test_an_unknown_adapter_is_not_the_base_model(model: Model, context: Context) -> None:
    with pytest.raises(KeyError):
        Adapters(model, {}).use(context.handle, "nothing")


@pytest.mark.parametrize(
    ("pairs", "reason"),
    [
        ({QUERIES.format(0): pair(0, 128, 128)}, "has incorrect shape"),
        ({QUERIES.format(9): pair(0)}, "does not exist in base model"),
    ],
)
def test_an_adapter_of_another_model_is_refused_with_llama_cpps_reason(
    model: Model, tmp_path: Path, pairs: dict[str, tuple[np.ndarray, np.ndarray]], reason: str
) -> None:
    good, bad = strong_adapter(tmp_path), write_adapter(tmp_path / "bad.gguf", pairs)
    with pytest.raises(ModelUnavailableError, match=reason) as caught:
        Adapters(model, {"good": str(good), "wrong": str(bad)})
    message = caught.value.message
    assert message.startswith(f"the LoRA adapter 'wrong' cannot be used: llama.cpp cannot apply {bad} to this model: ")
    assert "llama_adapter" not in message


def test_a_file_that_llama_cpp_would_not_survive_is_refused(model: Model, tmp_path: Path) -> None:
    factors = (np.ones((3072, 4), np.float32), np.ones((256, 4), np.float32))
    path = write_adapter(tmp_path / "embedding.gguf", {"token_embd.weight": factors})
    with pytest.raises(ModelUnavailableError, match="'it' cannot be used: .*uses for its output, too"):
        Adapters(model, {"it": str(path)}, check_gguf(str(BUNDLED_MODEL)))


def test_an_activated_lora_is_refused(model: Model, tmp_path: Path) -> None:
    path = write_adapter(tmp_path / "alora.gguf", {QUERIES.format(0): pair(0)}, invocation=[1, 2])
    with pytest.raises(ModelUnavailableError, match="activated LoRA"):
        Adapters(model, {"it": str(path)})
