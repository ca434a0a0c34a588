"""What `check` finds out about files before a model is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

import kernels
from app.check import check_router, problems
from app.routing.weights_file import MAGIC, read
from app.settings import Settings, SettingsError
from app.settings.sections import BUNDLED_MODEL
from tests.backends.llama_cpp.lora_files import every_layer, strong_adapter, write_adapter


def found(**environ: str) -> list[str]:
    return list(problems(Settings.load(environ, env_file=None)))


@pytest.mark.parametrize(("content", "fault"), [(None, "does not exist"), (b"", "is empty"), (b"PK\x03\x04", "GGUF")])
def test_a_model_file_that_cannot_be_served_is_named(tmp_path: Path, content: bytes | None, fault: str) -> None:
    model = tmp_path / "model.gguf"
    if content is not None:
        model.write_bytes(content)
    (line,) = found(JARVIS_MODEL_NAME=str(model))
    assert line.startswith(f"JARVIS_MODEL_NAME: {model} ")
    assert fault in line


def test_adapters_are_looked_at_one_by_one(tmp_path: Path) -> None:
    good, alien = strong_adapter(tmp_path), write_adapter(tmp_path / "b.gguf", every_layer(0), architecture="qwen2")
    missing, model = tmp_path / "c.gguf", str(BUNDLED_MODEL)
    lines = found(JARVIS_LORA_ADAPTERS=f"a={good},b={alien},c={missing},d={model}")
    assert [line.split(": ")[:2] for line in lines] == [["JARVIS_LORA_ADAPTERS", name] for name in "bcd"]
    assert "architecture 'qwen2'" in lines[0]
    assert "does not exist" in lines[1]
    assert "not a LoRA adapter" in lines[2]


def test_the_file_of_the_embedding_model_is_looked_at_too(tmp_path: Path) -> None:
    (line,) = found(JARVIS_EMBEDDING_MODEL=str(tmp_path / "none.gguf"))
    assert line == f"JARVIS_EMBEDDING_MODEL: {tmp_path / 'none.gguf'} does not exist"
    assert found(JARVIS_INFERENCE_ENGINE="stub", JARVIS_EMBEDDING_MODEL="/nowhere") == []


def test_other_engines_need_no_gguf_file() -> None:
    assert found(JARVIS_INFERENCE_ENGINE="stub", JARVIS_MODEL_NAME="/nowhere") == []


def test_kernels_that_this_machine_cannot_run_are_named() -> None:
    absent = "neon" if "neon" not in kernels.available() else "avx2"
    (line,) = found(JARVIS_INFERENCE_ENGINE="stub", JARVIS_KERNELS=absent)
    assert line.startswith(f"JARVIS_KERNELS='{absent}': the kernels have no level '{absent}' here; there are auto, ")


def test_a_chat_format_file_must_describe_one(tmp_path: Path) -> None:
    layout = tmp_path / "format.toml"
    layout.write_text("nonsense = 1\n")
    (line,) = found(JARVIS_INFERENCE_ENGINE="stub", JARVIS_CHAT_FORMAT_FILE=str(layout))
    assert line.startswith("JARVIS_CHAT_FORMAT_FILE: ")


def test_vllm_is_checked_without_being_loaded(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    lines = found(
        JARVIS_INFERENCE_ENGINE="vllm",
        JARVIS_MODEL_NAME=str(folder),
        JARVIS_LORA_ADAPTERS=f"a={folder}",
        JARVIS_VLLM_TENSOR_PARALLEL_SIZE="1024",
    )
    assert [line.split(":")[0] for line in lines][1:] == ["JARVIS_MODEL_NAME", "JARVIS_LORA_ADAPTERS"]
    assert "need 1024 devices" in lines[0] and "no config.json" in lines[1] and "adapter_config.json" in lines[2]


def test_vllm_takes_the_gguf_files_that_llama_cpp_takes(tmp_path: Path) -> None:
    assert found(JARVIS_INFERENCE_ENGINE="vllm", JARVIS_LORA_ADAPTERS=f"a={strong_adapter(tmp_path)}") == []
    assert found(JARVIS_INFERENCE_ENGINE="vllm", JARVIS_MODEL_NAME="some/model") == []


def test_damaged_weights_of_the_router_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = tmp_path / "router.bin"
    damaged.write_bytes(MAGIC + bytes(100))
    monkeypatch.setattr("app.check.read", lambda: read(damaged))
    with pytest.raises(SettingsError, match="hash is not the one"):
        check_router()
