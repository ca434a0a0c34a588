"""A look at a LoRA adapter's file before llama.cpp sees it, which takes some of what stands there for granted.

llama.cpp finds out by itself that a tensor or a shape does not fit the model. What is checked here would end the
process: values of another type than expected, and factors that cannot be multiplied.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from backends.base import ModelUnavailableError
from backends.gguf_header import GGUFHeader, Tensor, check_gguf

_STRING, _FLOAT32 = 8, 6  # types of values in GGUF
_WEIGHT_TYPES = {0: "f32", 1: "f16", 30: "bf16", 8: "q8_0"}
_EMBEDDING, _OUTPUT = "token_embd.weight", "output.weight"


def check_adapter(path: str, base: GGUFHeader | None = None) -> None:
    """Check that `path` is a LoRA adapter, and one for the model that `base` describes.

    Raises:
        ModelUnavailableError: names the file and what is wrong with it.
    """
    header = check_gguf(path)
    fault = next(_faults(header, base), None)
    if fault is not None:
        raise ModelUnavailableError(f"{path} {fault}")


def _faults(header: GGUFHeader, base: GGUFHeader | None) -> Iterator[str]:
    for key, expected in (("general.type", "adapter"), ("adapter.type", "lora")):
        value = header.metadata.get(key)
        if header.value_types.get(key) != _STRING or value != expected:
            yield f"is not a LoRA adapter: its {key} is {value!r}, not '{expected}'"
    architecture = header.metadata.get("general.architecture")
    made_for = base.metadata.get("general.architecture") if base else architecture
    if not isinstance(architecture, str) or architecture != made_for:
        yield f"is an adapter for the architecture {architecture!r}; the model's is {made_for!r}"
    alpha = header.metadata.get("adapter.lora.alpha", 0.0)
    if header.value_types.get("adapter.lora.alpha", _FLOAT32) != _FLOAT32 or not math.isfinite(float(alpha)):
        yield f"is damaged: its adapter.lora.alpha is {alpha!r}, not a finite 32-bit number"
    yield from _tensor_faults(header, base.all_tensors if base else None)


def _tensor_faults(header: GGUFHeader, base: dict[str, Tensor] | None) -> Iterator[str]:
    names = sorted(name.removesuffix(".lora_a") for name in header.layout if name.endswith(".lora_a"))
    if not names:
        yield "is not a LoRA adapter: it has no tensors"
    if _EMBEDDING in names and base is not None and _OUTPUT not in base:
        # llama.cpp would use the factors a second time, the wrong way round, where it computes the logits.
        yield f"changes {_EMBEDDING}, which this model uses for its output, too; llama.cpp cannot do that"
    for name in names:
        low, high = header.layout[f"{name}.lora_a"], header.layout.get(f"{name}.lora_b")
        if high is not None:  # llama.cpp tells of the half that is missing
            yield from _pair_faults(name, low, high, base.get(name) if base else None)


def _pair_faults(name: str, low: Tensor, high: Tensor, target: Tensor | None) -> Iterator[str]:
    for tensor, side in ((low, "a"), (high, "b")):
        if tensor.type not in _WEIGHT_TYPES:
            understood = ", ".join(_WEIGHT_TYPES.values())
            yield f"has weights of the ggml type {tensor.type} in {name}.lora_{side}; {understood} are understood"
        if 0 in tensor.shape:
            yield f"has nothing in {name}.lora_{side}"
    ranks = (low.shape[0] if name == _EMBEDDING else _length(low, 1), high.shape[0])
    if ranks[0] != ranks[1]:
        yield f"has factors of different rank, {ranks[0]} and {ranks[1]}, for {name}"
    stacks = {(_length(tensor, 2), _length(tensor, 3)) for tensor in (low, high, target) if tensor is not None}
    if len(stacks) > 1:
        yield f"has factors for {name} that are not stacked as that is"


def _length(tensor: Tensor, axis: int) -> int:
    return tensor.shape[axis] if axis < len(tensor.shape) else 1
