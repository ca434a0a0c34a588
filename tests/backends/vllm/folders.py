"""Small Hugging Face folders."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

LLAMA = {
    "model_type": "llama",
    "max_position_embeddings": 4096,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "hidden_size": 64,
    "eos_token_id": 2,
}


def write_tensors(file: Path, shapes: dict[str, tuple[int, ...]]) -> None:
    """A safetensors file of zeros."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, shape in shapes.items():
        size = 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + bytes(at))


def write_folder(path: Path, config: dict[str, Any] = LLAMA, **files: dict[str, Any]) -> Path:
    """A folder with that `config.json`, a safetensors file of 10 × 20 weights, and more JSON files by their stems."""
    path.mkdir(parents=True, exist_ok=True)
    for name, content in {"config": config, **files}.items():
        (path / f"{name}.json").write_text(json.dumps(content))
    write_tensors(path / "model.safetensors", {"weight": (10, 20)})
    return path
