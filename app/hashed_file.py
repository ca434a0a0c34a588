"""Files that ship with the project and whose hash is checked before anything of them is used."""

from __future__ import annotations

import hashlib
from pathlib import Path

MAGIC_SIZE = 8
_BEGIN = MAGIC_SIZE + 32


class DamagedFileError(Exception):
    """The file is missing, or not what was written; the message says which."""


def write(path: Path, magic: bytes, body: bytes) -> None:
    """Write the file: what it is, in `MAGIC_SIZE` bytes; the SHA-256 of its body; the body."""
    path.write_bytes(magic + hashlib.sha256(body).digest() + body)


def read(path: Path, magic: bytes, holds: str) -> memoryview:
    """The body; `holds` says what the file should be, for the message.

    Raises:
        DamagedFileError: there is no such file, or it is not as it was written.
    """
    try:
        data = memoryview(path.read_bytes())
    except OSError as error:
        raise DamagedFileError(f"{path} cannot be read: {error.strerror}") from None
    if data[:MAGIC_SIZE] != magic or len(data) < _BEGIN:
        raise DamagedFileError(f"{path} is no file of {holds}")
    if hashlib.sha256(data[_BEGIN:]).digest() != data[MAGIC_SIZE:_BEGIN]:
        raise DamagedFileError(f"{path} is damaged: its hash is not the one written in it")
    return data[_BEGIN:]
