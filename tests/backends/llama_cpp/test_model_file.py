"""What is known of a model before it is loaded: its size on disk and in memory, and whether it has changed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from backends.base import ModelUnavailableError
from backends.llama_cpp.engine import LlamaCppEngine
from backends.llama_cpp.model_file import ModelFile
from tests.backends.llama_cpp.conftest import config
from tests.backends.llama_cpp.full_precision import BUNDLED_MODEL, f32_model


def test_sizes_are_those_of_the_loaded_model(engine: LlamaCppEngine) -> None:
    model = ModelFile.read(BUNDLED_MODEL)
    assert model.weight_bytes == pytest.approx(engine.info.size_bytes, abs=2048)  # padding between tensors
    assert model.size_bytes == BUNDLED_MODEL.stat().st_size
    assert model.header_bytes + model.weight_bytes == pytest.approx(model.size_bytes, abs=64)


def test_memory_is_weights_and_the_cache_of_one_context() -> None:
    model = ModelFile.read(BUNDLED_MODEL)
    assert model.default_window == 2048
    numbers = 2048 * 5 * 2 * (64 + 64)  # tokens, layers, heads, keys and values
    assert model.cache_bytes() == 2 * numbers
    assert model.memory_bytes() == model.weight_bytes + 2 * numbers
    assert model.cache_bytes(1024) == numbers


async def test_the_default_window_is_the_engines(engine: LlamaCppEngine) -> None:
    assert ModelFile.read(Path(config().model)).default_window == engine.info.context_window


def test_a_split_model_is_one_model(tmp_path: Path) -> None:
    whole = ModelFile.read(f32_model(tmp_path / "whole.gguf"))
    split = ModelFile.read(f32_model(tmp_path / "split.gguf", per_part=20))
    assert [part.name for part in split.parts] == [f"split-0000{n}-of-00003.gguf" for n in (1, 2, 3)]
    assert (split.name, whole.name) == ("split", "whole")
    assert split.weight_bytes == pytest.approx(whole.weight_bytes, abs=2048)
    assert split.kind == "f32" and not split.quantised


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    first = f32_model(tmp_path / "split.gguf", per_part=20)
    (tmp_path / "split-00002-of-00003.gguf").unlink()
    with pytest.raises(ModelUnavailableError, match="split-00002-of-00003.gguf does not exist"):
        ModelFile.read(first)


def test_a_part_that_is_not_the_first_stands_for_itself(tmp_path: Path) -> None:
    f32_model(tmp_path / "split.gguf", per_part=20)
    second = tmp_path / "split-00002-of-00003.gguf"
    assert ModelFile.read(second).parts == (second,)


def test_the_fingerprint_changes_with_the_file_and_not_with_its_place(tmp_path: Path) -> None:
    model = Path(shutil.copy2(BUNDLED_MODEL, tmp_path / "model.gguf"))
    first = ModelFile.read(model).fingerprint()
    moved = model.rename(tmp_path / "moved.gguf")
    assert ModelFile.read(moved).fingerprint() == first
    os.utime(moved, ns=(0, 1))
    touched = ModelFile.read(moved).fingerprint()
    moved.write_bytes(moved.read_bytes().replace(b"Jarvis Tiny", b"Jarvis Tine"))
    os.utime(moved, ns=(0, 1))
    assert len({first, touched, ModelFile.read(moved).fingerprint()}) == 3
