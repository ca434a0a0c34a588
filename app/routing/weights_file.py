"""The bytes of the weights file, whose hash is checked before anything of it is used. NumPy is not imported here."""

from __future__ import annotations

from pathlib import Path

from app import hashed_file
from app.hashed_file import DamagedFileError as DamagedWeightsError

__all__ = ["BUILT_IN", "MAGIC", "DamagedWeightsError", "read", "write"]

BUILT_IN = Path(__file__).resolve().parents[2] / "models" / "router" / "router.bin"
MAGIC = b"JARVISR2"


def write(path: Path, body: bytes) -> None:
    """Write the file."""
    hashed_file.write(path, MAGIC, body)


def read(path: Path = BUILT_IN) -> memoryview:
    """The body.

    Raises:
        DamagedWeightsError: there is no such file, or it is not as it was written.
    """
    return hashed_file.read(path, MAGIC, "the router's weights")
