"""The bytes of the weights file, whose hash is checked before anything of it is used. NumPy is not imported here."""

from __future__ import annotations

import hashlib
from pathlib import Path

BUILT_IN = Path(__file__).resolve().parents[2] / "models" / "router" / "router.bin"
MAGIC = b"JARVISR1"
_BEGIN = len(MAGIC) + 32


class DamagedWeightsError(Exception):
    """The file is missing, or not what was written; the message says which."""


def write(path: Path, body: bytes) -> None:
    """Write the file: what it is, the SHA-256 of its body, the body."""
    path.write_bytes(MAGIC + hashlib.sha256(body).digest() + body)


def read(path: Path = BUILT_IN) -> memoryview:
    """The body.

    Raises:
        DamagedWeightsError: there is no such file, or it is not as it was written.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DamagedWeightsError(f"{path} cannot be read: {error.strerror}") from None
    if not data.startswith(MAGIC) or len(data) < _BEGIN:
        raise DamagedWeightsError(f"{path} is no file of the router's weights")
    if hashlib.sha256(data[_BEGIN:]).digest() != data[len(MAGIC) : _BEGIN]:
        raise DamagedWeightsError(f"{path} is damaged: its hash is not the one written in it")
    return memoryview(data)[_BEGIN:]
