"""Adapter files that llama.cpp must not see, and those that it may."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends.base import ModelUnavailableError
from backends.gguf_header import check_gguf
from backends.lora_file import check_adapter
from tests.backends.llama_cpp.lora_files import QUERIES, Pair, pair, strong_adapter, write_adapter

BUNDLED_MODEL = Path(__file__).parents[2] / "models" / "tiny" / "jarvis-tiny-q8_0.gguf"
FIRST = QUERIES.format(0)


def ones(*shape: int, kind: Any = np.float32) -> np.ndarray:
    return np.ones(shape, kind)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "adapter.gguf"


def refusal(path: Path) -> str:
    with pytest.raises(ModelUnavailableError) as caught:
        check_adapter(str(path), check_gguf(str(BUNDLED_MODEL)))
    assert str(path) in caught.value.message
    return caught.value.message


def test_a_sound_adapter_passes_with_and_without_its_model(tmp_path: Path) -> None:
    adapter = str(strong_adapter(tmp_path))
    check_adapter(adapter)
    check_adapter(adapter, check_gguf(str(BUNDLED_MODEL)))


def test_a_missing_file_is_named(path: Path) -> None:
    assert "does not exist" in refusal(path)


def test_a_model_is_not_an_adapter() -> None:
    with pytest.raises(ModelUnavailableError, match="not a LoRA adapter: its general.type is None, not 'adapter'"):
        check_adapter(str(BUNDLED_MODEL))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"general_type": "model"}, "its general.type is 'model', not 'adapter'"),
        ({"adapter_type": "control_vector"}, "its adapter.type is 'control_vector', not 'lora'"),
        ({"architecture": "qwen2"}, "for the architecture 'qwen2'; the model's is 'llama'"),
        ({"alpha": "8"}, "its adapter.lora.alpha is '8'"),
        ({"alpha": float("nan")}, "its adapter.lora.alpha is nan"),
    ],
)
def test_what_the_header_says_must_fit(path: Path, changes: dict[str, Any], reason: str) -> None:
    assert reason in refusal(write_adapter(path, {FIRST: pair(0)}, **changes))


@pytest.mark.parametrize(
    ("pairs", "reason"),
    [
        ({}, "has no tensors"),
        ({FIRST: (ones(4, 256), ones(256, 3))}, f"different rank, 4 and 3, for {FIRST}"),
        ({FIRST: (ones(4, 256, kind=np.int32), ones(256, 4))}, f"the ggml type 26 in {FIRST}.lora_a"),
        ({FIRST: (ones(2, 4, 256), ones(2, 256, 4))}, "not stacked as that is"),
        ({FIRST: (ones(4, 256), ones(2, 256, 4))}, "not stacked as that is"),
        ({"token_embd.weight": (ones(3072, 4), ones(256, 4))}, "which this model uses for its output, too"),
    ],
)
def test_factors_that_cannot_be_multiplied_are_refused(path: Path, pairs: dict[str, Pair], reason: str) -> None:
    assert reason in refusal(write_adapter(path, pairs))
