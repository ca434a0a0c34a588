"""LoRA adapters for the bundled model, written by hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np

RANK = 4
QUERIES = "blk.{}.attn_q.weight"
LAYERS = 5
WIDTH = 256
Pair = tuple[np.ndarray, np.ndarray]


def pair(seed: int, rows: int = WIDTH, columns: int = WIDTH, strength: float = 0.0) -> Pair:
    """Factors A (rank × columns) and B (rows × rank) of a correction to a matrix of `rows` × `columns`."""
    random = np.random.default_rng(seed)
    low = random.normal(size=(RANK, columns)).astype(np.float32)
    return low, (strength * random.normal(size=(rows, RANK))).astype(np.float32)


def every_layer(strength: float, seed: int = 0) -> dict[str, Pair]:
    """A correction of the queries in all layers of the bundled model."""
    return {QUERIES.format(layer): pair(100 * seed + layer, strength=strength) for layer in range(LAYERS)}


def write_adapter(path: Path, pairs: Mapping[str, Pair], **changes: Any) -> Path:
    """Write an adapter; `changes`: `architecture`, `general_type`, `adapter_type`, `alpha`, `invocation` (tokens)."""
    writer = gguf.GGUFWriter(path, changes.get("architecture", "llama"))
    writer.add_string("general.type", changes.get("general_type", "adapter"))
    writer.add_string("adapter.type", changes.get("adapter_type", "lora"))
    alpha = changes.get("alpha", 8.0)
    add_alpha = writer.add_string if isinstance(alpha, str) else writer.add_float32
    add_alpha("adapter.lora.alpha", alpha)
    if "invocation" in changes:
        writer.add_key_value(
            "adapter.alora.invocation_tokens",
            changes["invocation"],
            gguf.GGUFValueType.ARRAY,
            sub_type=gguf.GGUFValueType.UINT32,
        )
    for name, (low, high) in pairs.items():
        writer.add_tensor(f"{name}.lora_a", low)
        writer.add_tensor(f"{name}.lora_b", high)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def strong_adapter(folder: Path, seed: int = 0) -> Path:
    """One that changes what the model says; another seed, another change."""
    return write_adapter(folder / f"strong-{seed}.gguf", every_layer(0.5, seed))


def idle_adapter(folder: Path) -> Path:
    """One whose factors B are zero: it changes nothing."""
    return write_adapter(folder / "idle.gguf", every_layer(0.0))
