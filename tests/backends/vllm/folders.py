"""Small Hugging Face folders."""

from __future__ import annotations

import json
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


def write_folder(path: Path, config: dict[str, Any] = LLAMA, **files: dict[str, Any]) -> Path:
    """A folder with that `config.json`, a safetensors file of 10 × 20 weights, and more JSON files by their stems."""
    path.mkdir(parents=True, exist_ok=True)
    for name, content in {"config": config, **files}.items():
        (path / f"{name}.json").write_text(json.dumps(content))
    tensor = {"dtype": "F32", "shape": [10, 20], "data_offsets": [0, 800]}
    header = json.dumps({"__metadata__": {"format": "pt"}, "weight": tensor}).encode()
    (path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(800))
    return path
