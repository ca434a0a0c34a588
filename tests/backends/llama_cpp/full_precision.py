"""Models in full precision: the bundled one, dequantised, and others that can be quantised but not served."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

BUNDLED_MODEL = Path(__file__).parents[3] / "models" / "tiny" / "jarvis-tiny-q8_0.gguf"

_WRITTEN_ANEW = ("GGUF.", "general.architecture", "general.file_type", "general.quantization_version")
"""Fields that the writer adds itself, and what a file says of its numbers."""


def f32_model(path: Path, *, half: bool = False, per_part: int = 0, source: Path = BUNDLED_MODEL) -> Path:
    """Write `source` to `path` with F32 weights, or with F16 ones where `half` is set.

    Norms and other tensors of one dimension stay F32, as in files that llama.cpp's converter writes. The F32 weights
    are exactly the numbers that the quantised ones stand for. With `per_part` the model is split into parts of so many
    tensors. Returns `path`, or the first part.
    """
    reader = gguf.GGUFReader(source)
    architecture = str(reader.fields["general.architecture"].contents())
    writer = gguf.GGUFWriter(path, architecture, split_max_tensors=per_part)
    _copy_metadata(reader, writer)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16 if half else gguf.LlamaFileType.ALL_F32)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, _numbers(tensor, half))
    return _written(writer, path)


def bare_model(path: Path, shapes: dict[str, tuple[int, ...]]) -> Path:
    """Write random F32 tensors under the metadata of the bundled model, without its vocabulary; returns `path`.

    llama.cpp quantises whatever tensors there are, but would not load them.
    """
    writer = gguf.GGUFWriter(path, "llama")
    _copy_metadata(gguf.GGUFReader(BUNDLED_MODEL), writer, but="tokenizer.")
    random = np.random.default_rng(0)
    for name, shape in shapes.items():
        writer.add_tensor(name, random.standard_normal(shape, np.float32))
    return _written(writer, path)


def slow_model(path: Path) -> Path:
    """A model that one thread quantises to iq3_s in seconds: time enough to disturb it."""
    return bare_model(path, {f"blk.{layer}.ffn_up.weight": (1024, 1024) for layer in range(16)})


def _copy_metadata(reader: gguf.GGUFReader, writer: gguf.GGUFWriter, but: str = "GGUF.") -> None:
    for field in reader.fields.values():
        if not field.name.startswith((*_WRITTEN_ANEW, but)):
            is_array = field.types[0] == gguf.GGUFValueType.ARRAY
            writer.add_key_value(field.name, field.contents(), field.types[0], field.types[-1] if is_array else None)


def _numbers(tensor: Any, half: bool) -> NDArray[Any]:
    full: NDArray[Any] = gguf.dequantize(tensor.data, tensor.tensor_type)
    return full.astype(np.float16) if half and full.ndim > 1 else full


def _written(writer: gguf.GGUFWriter, path: Path) -> Path:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path if path.exists() else min(path.parent.glob(f"{path.stem}-*.gguf"))
