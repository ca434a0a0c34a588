"""LoRA adapters from GGUF files to folders, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from backends.base import ModelUnavailableError
from backends.types import EngineConfig
from backends.vllm.adapter_folder import adapter_folders, unpermuted
from backends.vllm.folder import ModelFolder, adapter_rank
from tests.backends.llama_cpp.lora_files import RANK, pair, strong_adapter, write_adapter
from tests.backends.vllm.folders import LLAMA, write_folder, write_tensors

HEADS = {**LLAMA, "num_attention_heads": 4, "num_key_value_heads": 2}


def folders(tmp_path: Path, model: dict[str, Any] = HEADS, **adapters: Path) -> dict[str, str]:
    config = EngineConfig(
        engine="vllm",
        model="",
        alias="m",
        cache_dir=str(tmp_path / "cache"),
        adapters={name: str(path) for name, path in adapters.items()},
    )
    return adapter_folders(config, ModelFolder(write_folder(tmp_path / "model", model)))


def test_a_gguf_adapter_becomes_a_folder_once(tmp_path: Path) -> None:
    source = strong_adapter(tmp_path)
    folder = Path(folders(tmp_path, a=source)["a"])
    tensors = load_file(folder / "adapter_model.safetensors")
    assert len(tensors) == 10
    assert tensors["base_model.model.model.layers.3.self_attn.q_proj.lora_A.weight"].shape == (RANK, 256)
    config = json.loads((folder / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["target_modules"]) == (RANK, 8.0, ["q_proj"])
    assert adapter_rank(str(folder)) == RANK
    written = (folder / "adapter_config.json").stat().st_mtime_ns
    assert folders(tmp_path, b=source)["b"] == str(folder)
    assert (folder / "adapter_config.json").stat().st_mtime_ns == written


def test_rows_of_queries_come_back_in_their_order() -> None:
    rows = np.arange(4 * 6 * 2, dtype=np.float32).reshape(24, 2)
    permuted = rows.reshape(4, 2, 3, 2).swapaxes(1, 2).reshape(24, 2)  # as llama.cpp's converter does it
    assert not np.array_equal(permuted, rows)
    assert np.array_equal(unpermuted(permuted, 4), rows)


def test_only_queries_and_keys_of_llama_are_reordered(tmp_path: Path) -> None:
    changed = {f"blk.0.{matrix}.weight": pair(1, strength=1.0) for matrix in ("attn_q", "attn_v", "ffn_up")}
    folder = Path(folders(tmp_path, a=write_adapter(tmp_path / "a.gguf", changed))["a"])
    tensors = load_file(folder / "adapter_model.safetensors")
    given = changed["blk.0.attn_v.weight"][1]
    same = {name: np.array_equal(tensor, given) for name, tensor in tensors.items() if ".lora_B." in name}
    assert {name.split(".")[-3]: value for name, value in same.items()} == {
        "q_proj": False,
        "v_proj": True,
        "up_proj": True,
    }


def test_no_alpha_means_the_factors_as_they_are(tmp_path: Path) -> None:
    source = write_adapter(tmp_path / "a.gguf", {"blk.0.attn_v.weight": pair(1)}, alpha=0.0)
    folder = Path(folders(tmp_path, a=source)["a"])
    assert json.loads((folder / "adapter_config.json").read_text())["lora_alpha"] == RANK


def test_folders_are_taken_as_they_are(tmp_path: Path) -> None:
    adapter = write_folder(tmp_path / "peft", adapter_config={"r": 16})
    assert folders(tmp_path, a=adapter) == {"a": str(adapter)}


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: path / "none.gguf", "does not exist"),
        (lambda path: path, "not the folder of a LoRA adapter"),
        (lambda path: write_adapter(path / "a.gguf", {"output.weight": pair(1)}), "changes output.weight"),
        (
            lambda path: write_adapter(path / "a.gguf", {"blk.0.attn_v.weight": pair(1)}, architecture="phi3"),
            "for the architecture 'phi3', the model's is 'llama'",
        ),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, make: Any, reason: str) -> None:
    with pytest.raises(ModelUnavailableError, match="the LoRA adapter 'sql' cannot be used") as refused:
        folders(tmp_path, sql=make(tmp_path))
    assert reason in refused.value.message
    assert not [*(tmp_path / "cache").rglob(".converting-*")]


@pytest.mark.parametrize(
    ("factors", "reason"),
    [
        ({"lora_A": (4, 64), "lora_B": (128, 4)}, None),
        ({"lora_A": (4, 64), "lora_B": (64, 4)}, "64 instead of 128 rows"),
        ({"lora_A": (4, 60), "lora_B": (128, 4)}, "60 instead of 64 columns"),
    ],
)
def test_factors_have_to_fit_their_matrix(
    tmp_path: Path, factors: dict[str, tuple[int, ...]], reason: str | None
) -> None:
    module = "model.layers.0.mlp.up_proj"
    adapter = write_folder(tmp_path / "peft", adapter_config={"r": 4})
    tensors = {f"base_model.model.{module}.{side}.weight": shape for side, shape in factors.items()}
    write_tensors(adapter / "model.safetensors", tensors)
    model = write_folder(tmp_path / "model")
    write_tensors(model / "model.safetensors", {f"{module}.weight": (128, 64)})
    config = EngineConfig(engine="vllm", model="", alias="m", cache_dir="", adapters={"sql": str(adapter)})
    if reason is None:
        assert adapter_folders(config, ModelFolder(model)) == {"sql": str(adapter)}
    else:
        with pytest.raises(ModelUnavailableError, match=rf"'sql' cannot be used: its {module} .* {reason}"):
            adapter_folders(config, ModelFolder(model))
