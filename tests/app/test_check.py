"""What `check` finds out about files before a model is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.check import problems
from app.settings import Settings


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


def test_other_engines_need_no_gguf_file() -> None:
    assert found(JARVIS_INFERENCE_ENGINE="stub", JARVIS_MODEL_NAME="/nowhere") == []


def test_a_chat_format_file_must_describe_one(tmp_path: Path) -> None:
    layout = tmp_path / "format.toml"
    layout.write_text("nonsense = 1\n")
    (line,) = found(JARVIS_INFERENCE_ENGINE="stub", JARVIS_CHAT_FORMAT_FILE=str(layout))
    assert line.startswith("JARVIS_CHAT_FORMAT_FILE: ")
