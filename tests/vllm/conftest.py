"""The bundled model in full precision, served by both engines: the same file, the same variables but one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.settings.vllm import VENV
from tests.backends.llama_cpp.full_precision import f32_model
from tests.serving import Server, serving

LOADING_S = 300.0
"""How long vLLM may take to start on a busy machine before the test gives up."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here needs vLLM, and runs where it was asked for only."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("vllm")


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For models and what is made of them."""
    assert (VENV / "bin" / "python").exists(), "vLLM is not installed: ./run.sh test-vllm does that"
    return tmp_path_factory.mktemp("parity")


@pytest.fixture(scope="session")
def variables(folder: Path) -> dict[str, Any]:
    """What both servers are told. llama.cpp gets full precision outside of the weights, too: flash attention rounds."""
    return {
        "JARVIS_MODEL_NAME": str(f32_model(folder / "tiny-f32.gguf")),
        "JARVIS_MODEL_ALIAS": "parity",
        "JARVIS_CACHE_DIR": str(folder / "cache"),
        "JARVIS_KV_CACHE_TYPE": "f32",
        "JARVIS_FLASH_ATTN": "off",
        "JARVIS_LOG_LEVEL": "warning",
    }


@pytest.fixture(scope="session")
def llama_cpp(variables: dict[str, Any]) -> Iterator[Server]:
    with serving(JARVIS_INFERENCE_ENGINE="llama_cpp", **variables) as server:
        yield server


@pytest.fixture(scope="session")
def vllm(variables: dict[str, Any]) -> Iterator[Server]:
    with serving(JARVIS_INFERENCE_ENGINE="vllm", patience_s=LOADING_S, **variables) as server:
        yield server
        assert "Traceback" not in server.log.read_text()
