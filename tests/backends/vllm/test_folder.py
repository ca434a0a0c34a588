"""What a model's folder says of itself before it is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from backends.base import ModelUnavailableError
from backends.vllm.folder import ModelFolder
from tests.backends.vllm.folders import LLAMA, write_folder


def test_a_folder_is_described_by_its_files(tmp_path: Path) -> None:
    folder = ModelFolder(write_folder(tmp_path))
    folder.check()
    assert (folder.architecture, folder.trained_context, folder.parameters) == ("llama", 4096, 200)
    assert folder.size_bytes == (tmp_path / "model.safetensors").stat().st_size
    assert folder.cache_bytes(4) == 2 * 2 * 2 * 16 * 4


def test_a_model_with_several_parts_is_described_by_the_one_that_writes(tmp_path: Path) -> None:
    folder = ModelFolder(write_folder(tmp_path, {"model_type": "both", "text_config": LLAMA}))
    assert (folder.architecture, folder.trained_context) == ("both", 4096)


@pytest.mark.parametrize(
    ("files", "ends"),
    [
        ({}, {2}),
        ({"generation_config": {"eos_token_id": 7}}, {7}),
        ({"generation_config": {"eos_token_id": [7, 8]}}, {7, 8}),
    ],
)
def test_answers_end_with_what_the_generation_config_says_first(
    tmp_path: Path, files: dict[str, dict[str, object]], ends: set[int]
) -> None:
    assert ModelFolder(write_folder(tmp_path, **files)).end_tokens == ends


def test_what_a_folder_does_not_say_is_not_known(tmp_path: Path) -> None:
    folder = ModelFolder(write_folder(tmp_path, {"model_type": "new"}))
    assert (folder.trained_context, folder.cache_bytes(2), folder.end_tokens) == (None, None, frozenset())


def test_other_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailableError, match="no config.json"):
        ModelFolder(tmp_path).check()
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelUnavailableError, match="no config.json"):
        ModelFolder(tmp_path).check()
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(ModelUnavailableError, match="no weights"):
        ModelFolder(tmp_path).check()


@pytest.mark.parametrize("content", [b"", b"\xff" * 8 + b"{", b"\x02\0\0\0\0\0\0\0{["])
def test_a_damaged_weight_file_is_named(tmp_path: Path, content: bytes) -> None:
    folder = write_folder(tmp_path)
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelUnavailableError, match=r"model\.safetensors is damaged"):
        assert ModelFolder(folder).parameters


def test_a_config_that_is_not_json_is_named(tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
    (folder / "config.json").write_text("{")
    with pytest.raises(ModelUnavailableError, match=r"config\.json cannot be read"):
        ModelFolder(folder).check()
