"""A bounded look at a GGUF file before native code sees it.

llama.cpp trusts the counts, lengths and offsets of a file more than a stranger's file deserves. Everything in the
header is checked here against the file's real size, in time linear in the header.
Layout: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import math
import mmap
import os
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from backends.base import ModelUnavailableError

Value = str | int | float | bool

_MAX_PAIRS: Final = 65_536
_MAX_TENSORS: Final = 1_000_000
_MAX_ARRAY: Final = 64_000_000
_KEPT_ARRAY: Final = 1024  # more layers than llama.cpp allows; longer arrays are vocabularies
_MAX_DIMENSIONS: Final = 4
_MAX_ALIGNMENT: Final = 65_536
_STRING, _ARRAY, _BOOL = 8, 9, 7
_SCALARS: Final = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<B", 10: "<Q", 11: "<q", 12: "<d"}
BLOCKS: Final = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292),
    16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82),
    23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2),
    34: (256, 54), 35: (256, 66), 39: (32, 17), 40: (64, 36),
}  # fmt: skip
"""Weights per block and bytes per block, by ggml type. A type that is not here is left for llama.cpp to judge."""


class Tensor(NamedTuple):
    """A tensor's lengths, the fastest running first, and its ggml type."""

    shape: tuple[int, ...]
    type: int


@dataclass(frozen=True)
class GGUFHeader:
    """What the header says. `metadata` holds scalars and strings only; `tensor_bytes` is the end of the last tensor.

    `types` has the bytes that tensors of each ggml type take (0 for types unknown here); their data begins `data_start`
    bytes into the file. `arrays` holds short arrays of numbers, such as those with an entry per layer; `value_types`
    says of every key which type of GGUF its value has (9: an array).
    """

    version: int
    metadata: dict[str, Value]
    tensors: int
    tensor_bytes: int
    types: dict[int, int]
    data_start: int
    arrays: dict[str, tuple[int | float, ...]] = field(default_factory=dict)
    value_types: dict[str, int] = field(default_factory=dict)
    layout: dict[str, Tensor] = field(default_factory=dict)

    @property
    def all_tensors(self) -> dict[str, Tensor] | None:
        """The tensors of the model, or `None` where other files have more of them."""
        return None if self.metadata.get("split.count", 1) != 1 else self.layout

    @property
    def quantised(self) -> bool:
        """Whether some tensors are stored in blocks that share a scale; a type unknown here counts as one of those."""
        return any(BLOCKS.get(kind, (0, 0))[0] != 1 for kind in self.types)


class _Damaged(Exception):
    """The file contradicts itself; the message says where."""


def check_gguf(path: str) -> GGUFHeader:
    """Read the header of a model file.

    Raises:
        ModelUnavailableError: names the file and what is wrong with it: missing, a directory, unreadable, empty, no
            regular file, not GGUF, cut short, or inconsistent.
    """
    file = Path(path)
    try:
        if file.is_dir():
            raise ModelUnavailableError(f"{file} is a directory, not a GGUF file")
        if file.exists() and not file.is_file():  # opening a pipe would wait for its other end
            raise ModelUnavailableError(f"{file} is not a regular file")
        with file.open("rb") as stream:
            if not os.fstat(stream.fileno()).st_size:
                raise ModelUnavailableError(f"{file} is empty")
            with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _Reader(data).header()
    except FileNotFoundError:
        raise ModelUnavailableError(f"{file} does not exist") from None
    except (OSError, ValueError) as error:
        raise ModelUnavailableError(f"{file} cannot be read: {error}") from error
    except _Damaged as error:
        raise ModelUnavailableError(f"{file} is not a usable GGUF file: {error}") from None


class _Reader:
    """A cursor over the mapped file."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._size = len(data)
        self._at = 0
        self._types: dict[int, int] = {}
        self._arrays: dict[str, tuple[int | float, ...]] = {}
        self._value_types: dict[str, int] = {}
        self._layout: dict[str, Tensor] = {}

    def header(self) -> GGUFHeader:
        if self._data[:4] != b"GGUF":
            raise _Damaged(f"it begins with {self._data[:4]!r} instead of b'GGUF'")
        self._at = 4
        version = self._number("<I", "version")
        if version not in (2, 3):
            raise _Damaged(f"version {version} is not supported (2 and 3 are)")
        tensors = self._bounded("tensor count", _MAX_TENSORS)
        pairs = self._bounded("metadata count", _MAX_PAIRS)
        metadata: dict[str, Value] = {}
        for _ in range(pairs):
            key = self._string("metadata key")
            value = self._value(key)
            if value is not None:
                metadata[key] = value
        ends = [self._tensor() for _ in range(tensors)]
        start = self._data_start(metadata)
        found = (self._types, start, self._arrays, self._value_types, self._layout)
        header = GGUFHeader(version, metadata, tensors, max(ends, default=0), *found)
        if header.tensor_bytes and header.data_start + header.tensor_bytes > self._size:
            missing = header.data_start + header.tensor_bytes - self._size
            raise _Damaged(f"it is cut short: {missing} bytes of tensor data are missing at its end")
        return header

    def _data_start(self, metadata: dict[str, Value]) -> int:
        alignment = metadata.get("general.alignment", 32)
        if not isinstance(alignment, int) or not 0 < alignment <= _MAX_ALIGNMENT or alignment & (alignment - 1):
            raise _Damaged(f"general.alignment is {alignment!r}, not a power of two up to {_MAX_ALIGNMENT}")
        return -(-self._at // alignment) * alignment

    def _take(self, size: int, what: str) -> int:
        """Move past `size` bytes that must exist; returns where they begin."""
        start = self._at
        if size < 0 or size > self._size - start:
            raise _Damaged(f"it ends inside the {what} at byte {start}")
        self._at = start + size
        return start

    def _number(self, form: str, what: str) -> int:
        start = self._take(struct.calcsize(form), what)
        return int(struct.unpack_from(form, self._data, start)[0])

    def _bounded(self, what: str, limit: int) -> int:
        count = self._number("<Q", what)
        if count > limit:
            raise _Damaged(f"its {what} is {count}, more than {limit}")
        return count

    def _string(self, what: str) -> str:
        start = self._take(self._number("<Q", what), what)
        return self._data[start : self._at].decode(errors="replace")

    def _value(self, key: str) -> Value | None:
        kind = self._value_types[key] = self._number("<I", f"type of {key}")
        if kind == _ARRAY:
            self._array(key)
            return None
        if kind == _STRING:
            return self._string(key)
        if kind not in _SCALARS:
            raise _Damaged(f"{key} has the unknown type {kind}")
        start = self._take(struct.calcsize(_SCALARS[kind]), key)
        value: int | float = struct.unpack_from(_SCALARS[kind], self._data, start)[0]
        return bool(value) if kind == _BOOL else value

    def _array(self, key: str) -> None:
        kind = self._number("<I", f"type of {key}")
        count = self._bounded(f"length of {key}", _MAX_ARRAY)
        if kind == _STRING:
            self._skip_strings(count, key)
        elif kind in _SCALARS:
            start = self._take(count * struct.calcsize(_SCALARS[kind]), key)
            if count <= _KEPT_ARRAY:
                self._arrays[key] = struct.unpack_from(f"<{count}{_SCALARS[kind][1]}", self._data, start)
        else:
            raise _Damaged(f"{key} is an array of the unsupported type {kind}")

    def _skip_strings(self, count: int, key: str) -> None:
        # Vocabularies have hundreds of thousands of strings: this loop is the whole cost of the check.
        data, at, last = self._data, self._at, self._size - 8
        length_at = struct.Struct("<Q").unpack_from
        for _ in range(count):
            if at > last:
                raise _Damaged(f"it ends inside {key} at byte {at}")
            at += 8 + length_at(data, at)[0]
        self._at = at
        self._take(0, key)

    def _tensor(self) -> int:
        """Check one tensor's entry; returns where its data ends, in bytes from the start of the data section."""
        name = self._string("tensor name")
        dimensions = self._number("<I", f"dimensions of {name}")
        if not 0 < dimensions <= _MAX_DIMENSIONS:
            raise _Damaged(f"tensor {name!r} has {dimensions} dimensions")
        shape = tuple(self._number("<Q", f"shape of {name}") for _ in range(dimensions))
        row, weights = shape[0], math.prod(shape)
        if weights >= 2**63:
            raise _Damaged(f"tensor {name!r} is larger than any memory")
        kind = self._number("<I", f"type of {name}")
        offset = self._number("<Q", f"offset of {name}")
        self._layout[name] = Tensor(shape, kind)
        if kind not in BLOCKS:
            self._types.setdefault(kind, 0)
            return offset
        per_block, block_bytes = BLOCKS[kind]
        if row % per_block:
            raise _Damaged(f"tensor {name!r} has rows of {row} weights, not a multiple of {per_block}")
        size = weights // per_block * block_bytes
        self._types[kind] = self._types.get(kind, 0) + size
        return offset + size
