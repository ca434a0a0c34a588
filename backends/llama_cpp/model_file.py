"""A GGUF model on disk, in one part or in several: what its headers say of its size, before anything is loaded."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from backends.gguf_header import GGUFHeader, check_gguf
from backends.llama_cpp.kv_size import cell_shape
from backends.llama_cpp.number_formats import kind_of
from backends.types import LONGEST_DEFAULT_WINDOW

_PART = re.compile(r"(?P<stem>.+)-\d{5}-of-(?P<parts>\d{5})\.gguf")


@dataclass(frozen=True)
class ModelFile:
    """The parts of a model and their headers; the first part carries the metadata."""

    parts: tuple[Path, ...]
    headers: tuple[GGUFHeader, ...]

    @classmethod
    def read(cls, path: Path) -> ModelFile:
        """Read the headers of the file that is named, and of the parts that belong to it.

        Raises:
            ModelUnavailableError: names the file and what is wrong with it.
        """
        first = check_gguf(str(path))
        parts = _parts(path, first)
        return cls(parts, (first, *(check_gguf(str(part)) for part in parts[1:])))

    @property
    def name(self) -> str:
        """The file's name without what says that it is one of several."""
        split = _PART.fullmatch(self.parts[0].name)
        return split["stem"] if split else self.parts[0].name.removesuffix(".gguf")

    @property
    def kind(self) -> str:
        """The number format of its weights."""
        return kind_of(self.headers[0])

    @property
    def quantised(self) -> bool:
        """Whether any of its tensors is."""
        return any(header.quantised for header in self.headers)

    @property
    def size_bytes(self) -> int:
        """What it takes on disk."""
        return sum(part.stat().st_size for part in self.parts)

    @property
    def weight_bytes(self) -> int:
        """What its tensors take in memory."""
        return sum(header.tensor_bytes for header in self.headers)

    @property
    def header_bytes(self) -> int:
        """Everything but the tensors."""
        return sum(header.data_start for header in self.headers)

    @property
    def default_window(self) -> int:
        """Tokens of context that a request gets when nothing is configured; 0 if the file does not say."""
        metadata = self.headers[0].metadata
        trained = metadata.get(f"{metadata.get('general.architecture')}.context_length")
        return min(trained, LONGEST_DEFAULT_WINDOW) if isinstance(trained, int) and trained > 0 else 0

    def cache_bytes(self, window: int | None = None) -> int:
        """F16 KV cache of one context of `window` tokens (`None`: `default_window`)."""
        return (window or self.default_window) * cell_shape(self.headers[0]).size_bytes("f16", "f16")

    def memory_bytes(self, window: int | None = None) -> int:
        """What serving it takes at least: the weights, and the KV cache of one context."""
        return self.weight_bytes + self.cache_bytes(window)

    def fingerprint(self) -> str:
        """16 hexadecimal digits that change with the model.

        Hashing the weights of a large model takes longer than loading it. Size, time of change and header (names,
        shapes and places of all tensors, vocabulary, metadata) are what a file cannot keep when it is replaced.
        The inode is left out: where it is not stable (containers), every start would be taken for a change.
        """
        digest = hashlib.sha256()
        for part, header in zip(self.parts, self.headers, strict=True):
            status = part.stat()
            digest.update(f"{status.st_size} {status.st_mtime_ns} ".encode())
            with part.open("rb") as file:
                digest.update(file.read(header.data_start))
        return digest.hexdigest()[:16]


def _parts(path: Path, first: GGUFHeader) -> tuple[Path, ...]:
    """`path` and the parts that follow it, named as llama.cpp names them; it refuses to begin with another part."""
    split = _PART.fullmatch(path.name)
    count = first.metadata.get("split.count", 1)
    if split is None or count != int(split["parts"]) or first.metadata.get("split.no") != 0:
        return (path,)
    stem, parts = split["stem"], split["parts"]
    return (path, *(path.with_name(f"{stem}-{n:05d}-of-{parts}.gguf") for n in range(2, int(parts) + 1)))
