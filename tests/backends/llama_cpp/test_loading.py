"""A model that cannot be served says which file it is and what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest

from backends.base import ModelUnavailableError
from backends.llama_cpp.engine import LlamaCppEngine
from tests.backends.llama_cpp.conftest import BUNDLED_MODEL, config


async def refusal(path: Path, **changes: object) -> str:
    engine = LlamaCppEngine(config(path, **changes))
    with pytest.raises(ModelUnavailableError) as caught:
        await engine.start(lambda _: None)
    await engine.close()
    return caught.value.message


async def test_a_missing_file(tmp_path: Path) -> None:
    assert await refusal(tmp_path / "none.gguf") == f"{tmp_path / 'none.gguf'} does not exist"


async def test_a_truncated_file(tmp_path: Path) -> None:
    path = tmp_path / "cut.gguf"
    path.write_bytes(BUNDLED_MODEL.read_bytes()[:-100_000])
    assert "cut short" in await refusal(path)


async def test_an_unknown_architecture_is_named(tmp_path: Path) -> None:
    path = tmp_path / "strange.gguf"
    writer = gguf.GGUFWriter(path, "nonesuch")
    writer.add_tensor("weights", np.ones((4, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    message = await refusal(path)
    assert "strange.gguf" in message
    assert "nonesuch" in message


async def test_an_unknown_chat_format_lists_the_known_ones() -> None:
    message = await refusal(BUNDLED_MODEL, chat_format="chatmil")
    assert "chatmil" in message
    assert "chatml" in message
    assert "mistral" in message


async def test_progress_reaches_the_end() -> None:
    engine = LlamaCppEngine(config())
    heard: list[float] = []
    await engine.start(heard.append)
    await engine.close()
    await engine.close()
    assert heard == sorted(heard)
    assert heard[-1] == 1.0


async def test_windows_and_cells_follow_the_configuration() -> None:
    engine = LlamaCppEngine(config(context_window=256, n_parallel=3))
    await engine.start(lambda _: None)
    assert (engine.info.context_window, engine.info.kv_cells) == (256, 768)
    await engine.close()
