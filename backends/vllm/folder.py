"""A model as a Hugging Face folder: what its files say before anything of it is loaded."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from backends.base import ModelUnavailableError

_WINDOW_KEYS = ("max_position_embeddings", "n_positions", "max_seq_len", "max_sequence_length", "seq_length", "n_ctx")
_LONGEST_HEADER = 100_000_000


@dataclass(frozen=True)
class ModelFolder:
    """The folder, with the texts of its small files read when they are asked for."""

    path: Path

    def check(self) -> None:
        """See that this is a model's folder.

        Raises:
            ModelUnavailableError: it has no `config.json` that can be read, or no weights.
        """
        if not self.config:
            raise ModelUnavailableError(f"{self.path} has no config.json: it is not the folder of a model")
        if not any(self.weight_files):
            raise ModelUnavailableError(f"{self.path} has no weights (*.safetensors, *.bin)")

    @cached_property
    def config(self) -> dict[str, Any]:
        """`config.json`; empty if there is none."""
        return self._read("config.json")

    @cached_property
    def generation_config(self) -> dict[str, Any]:
        """`generation_config.json`; empty if there is none."""
        return self._read("generation_config.json")

    @property
    def architecture(self) -> str:
        """What kind of model it is, in the library's own word."""
        return str(self.config.get("model_type", "unknown"))

    @property
    def trained_context(self) -> int | None:
        """Tokens of context that the model was made for, if it says so."""
        known = (self._text_config.get(key) for key in _WINDOW_KEYS)
        return next((value for value in known if isinstance(value, int) and value > 0), None)

    @property
    def end_tokens(self) -> frozenset[int]:
        """Ids that the folder says an answer ends with."""
        given = self.generation_config.get("eos_token_id", self._text_config.get("eos_token_id"))
        ids = given if isinstance(given, list) else [given]
        return frozenset(token for token in ids if isinstance(token, int))

    @property
    def weight_files(self) -> list[Path]:
        """The files that hold its weights."""
        return sorted(self.path.glob("*.safetensors")) or sorted(self.path.glob("*.bin"))

    @property
    def size_bytes(self) -> int:
        """What its weights take on disk."""
        return sum(file.stat().st_size for file in self.weight_files)

    @cached_property
    def parameters(self) -> int:
        """How many weights it has, as far as its files say; 0 if they do not."""
        return sum(map(math.prod, self.shapes.values()))

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of its tensors by their names, as far as its files say."""
        return {name: shape for file in self.weight_files for name, shape in tensor_shapes(file).items()}

    @property
    def head_counts(self) -> tuple[int, int]:
        """Attention heads of queries, and of keys and values; 0 where it does not say."""
        heads = int(self._text_config.get("num_attention_heads") or 0)
        return heads, int(self._text_config.get("num_key_value_heads") or heads)

    def cache_bytes(self, number_bytes: int) -> int | None:
        """Bytes of KV cache for one token, of numbers of that size; `None` for models that do not say enough."""
        config = self._text_config
        layers, hidden, (heads, kv_heads) = config.get("num_hidden_layers"), config.get("hidden_size"), self.head_counts
        if not (layers and heads and hidden):
            return None
        width = config.get("head_dim") or hidden // heads
        return int(2 * layers * kv_heads * width * number_bytes)

    @property
    def _text_config(self) -> dict[str, Any]:
        """Of a model with several parts, what describes the one that writes."""
        return {**self.config, **self.config.get("text_config", {})}

    def _read(self, name: str) -> dict[str, Any]:
        try:
            found = json.loads((self.path / name).read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise ModelUnavailableError(f"{self.path / name} cannot be read: {error}") from None
        return found if isinstance(found, dict) else {}


def adapter_rank(path: str) -> int:
    """The rank of the adapter in a folder.

    Raises:
        ModelUnavailableError: it is no folder of an adapter.
    """
    try:
        return int(json.loads((Path(path) / "adapter_config.json").read_bytes())["r"])
    except NotADirectoryError:
        raise ModelUnavailableError(f"{path} is neither a GGUF file nor the folder of an adapter") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelUnavailableError(f"{path} is not the folder of a LoRA adapter: {error}") from None


def tensor_shapes(file: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of the tensors in a safetensors file, from its header; none for files of other kinds.

    Raises:
        ModelUnavailableError: the header is damaged.
    """
    if file.suffix != ".safetensors":
        return {}
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > _LONGEST_HEADER:
            raise ModelUnavailableError(f"{file} is damaged: its header has {length} bytes")
        try:
            header = json.loads(stream.read(length))
        except ValueError:
            raise ModelUnavailableError(f"{file} is damaged: its header is not JSON") from None
    return {name: tuple(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__"}
