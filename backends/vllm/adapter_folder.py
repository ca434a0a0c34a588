"""LoRA adapters as vLLM reads them: folders as `peft` writes them. GGUF adapters become such folders, once."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.base import ModelUnavailableError
from backends.gguf_header import check_gguf
from backends.lora_file import check_adapter
from backends.types import EngineConfig
from backends.vllm.folder import ModelFolder, adapter_rank, tensor_shapes

ARCHITECTURES = {
    "llama": ("llama", "mistral"), "qwen2": ("qwen2",), "qwen3": ("qwen3",), "gemma2": ("gemma2",),
    "gemma3": ("gemma3", "gemma3_text"),
}  # fmt: skip
"""Architectures of GGUF adapters that can be converted, and what Hugging Face folders call their models."""
_MODULES = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_TENSOR = re.compile(r"blk\.(?P<layer>\d+)\.(?P<matrix>\w+)\.weight\.lora_(?P<side>[ab])")

_FACTOR = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<side>[AB])(\.\w+)?\.weight")

Numbers = NDArray[np.float32]


def adapter_folders(config: EngineConfig, model: ModelFolder) -> dict[str, str]:
    """The folder of each of the configuration's adapters, by its name; GGUF files are converted below `cache_dir`.

    Raises:
        ModelUnavailableError: names the adapter, and why it cannot be used with this model.
    """
    folders = {}
    for name, path in config.adapters.items():
        try:
            folders[name] = str(_converted(Path(path), config.cache_dir, model)) if path.endswith(".gguf") else path
            adapter_rank(folders[name])
            _check_shapes(Path(folders[name]), model)
        except ModelUnavailableError as error:
            raise ModelUnavailableError(f"the LoRA adapter '{name}' cannot be used: {error.message}") from None
    return folders


def _check_shapes(adapter: Path, model: ModelFolder) -> None:
    """Refuse factors for matrices of other shapes than the model's: vLLM would take them as far as they go."""
    for file in adapter.glob("*.safetensors"):
        for name, shape in tensor_shapes(file).items():
            found = _FACTOR.fullmatch(name)
            matrix = model.shapes.get(f"{found['module']}.weight") if found else None
            if found is None or matrix is None:
                continue
            kept, wanted = (shape[1], matrix[1]) if found["side"] == "A" else (shape[0], matrix[0])
            if kept != wanted:
                raise ModelUnavailableError(
                    f"its {found['module']} is made for a matrix with {kept} instead of {wanted}"
                    f" {'columns' if found['side'] == 'A' else 'rows'}"
                )


def _converted(source: Path, cache_dir: str, model: ModelFolder) -> Path:
    check_adapter(str(source))
    metadata = check_gguf(str(source)).metadata
    architecture = str(metadata["general.architecture"])
    if model.architecture not in ARCHITECTURES.get(architecture, ()):
        raise ModelUnavailableError(
            f"{source} is an adapter for the architecture '{architecture}', the model's is '{model.architecture}', and"
            f" those that can be converted are {', '.join(ARCHITECTURES)}: name the adapter's folder as peft writes it"
        )
    digest = hashlib.sha256(source.read_bytes() + str(model.head_counts).encode()).hexdigest()[:16]
    root = Path(cache_dir, "vllm", "adapters")
    folder = root / f"{source.name.removesuffix('.gguf')[:80]}-{digest}"
    if not folder.is_dir():
        root.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=".converting-", dir=root))
        try:
            _write(
                unfinished, dict(_factors(source, architecture, model)), float(metadata.get("adapter.lora.alpha", 0))
            )
            unfinished.rename(folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def _factors(source: Path, architecture: str, model: ModelFolder) -> Iterator[tuple[str, Numbers]]:
    """The tensors of the adapter under `peft`'s names, in the order of rows that Hugging Face folders have."""
    from gguf import GGUFReader
    from gguf.quants import dequantize

    for tensor in GGUFReader(source).tensors:
        found = _TENSOR.fullmatch(tensor.name)
        if found is None or found["matrix"] not in _MODULES:
            raise ModelUnavailableError(f"{source} changes {tensor.name}, which cannot be converted")
        numbers: Numbers = np.ascontiguousarray(dequantize(tensor.data, tensor.tensor_type), np.float32)
        if architecture == "llama" and found["side"] == "b" and found["matrix"] in ("attn_q", "attn_k"):
            numbers = unpermuted(numbers, model.head_counts[found["matrix"] == "attn_k"])
        module = f"base_model.model.model.layers.{found['layer']}.{_MODULES[found['matrix']]}"
        yield f"{module}.lora_{found['side'].upper()}.weight", numbers


def unpermuted(rows: Numbers, heads: int) -> Numbers:
    """Rows of a query or key matrix as Hugging Face has them; llama.cpp puts side by side what RoPE turns together."""
    length, *rest = rows.shape
    split = rows.reshape(heads, length // heads // 2, 2, *rest)
    return np.ascontiguousarray(split.swapaxes(1, 2).reshape(rows.shape))


def _write(folder: Path, factors: Mapping[str, Numbers], alpha: float) -> None:
    from safetensors.numpy import save_file

    rank = next(factor.shape[0] for name, factor in factors.items() if ".lora_A." in name)
    config: dict[str, Any] = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": rank,
        "lora_alpha": alpha or rank,  # none: the factors are taken as they are
        "target_modules": sorted({name.rsplit(".", 3)[1] for name in factors}),
        "bias": "none",
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))
    save_file(dict(factors), folder / "adapter_model.safetensors")
