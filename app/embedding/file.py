"""Where the embedding's file is, and whether it is as it was written. NumPy is not imported here."""

from __future__ import annotations

from pathlib import Path

from app import hashed_file

BUILT_IN = Path(__file__).resolve().parents[2] / "models" / "embedder" / "embedder.bin"
MAGIC = b"JARVISE1"


def write(path: Path, body: bytes) -> None:
    """Write the file."""
    hashed_file.write(path, MAGIC, body)


def read(path: Path = BUILT_IN) -> memoryview:
    """The body.

    Raises:
        DamagedFileError: there is no such file, or it is not as it was written.
    """
    return hashed_file.read(path, MAGIC, "a static embedding")
