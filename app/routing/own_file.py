"""Heads of users' routes on disk, under the hash of all that they were fitted from."""

from __future__ import annotations

import contextlib
import hashlib
import os
import zlib
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from app import hashed_file
from app.hashed_file import DamagedFileError
from app.routing.features import ROWS
from app.routing.joint import OwnHead
from app.routing.own import OwnRoute

MAGIC = b"JARVISO1"
VERSION = 1
"""Goes up with every change of what `app.routing.own_fit` makes of the same routes."""
_LARGEST = 64_000_000
MOST_KEPT = 16
"""Heads that stay in a folder: routes change, and what they were before is seldom fitted again."""


class _Head(msgspec.Struct):
    names: tuple[str, ...]
    scale: float
    bias: tuple[float, ...]
    temperature: float
    none: tuple[float, float]
    by_route: dict[str, tuple[float, ...]]
    accuracy: float


def path_for(folder: Path, routes: Sequence[OwnRoute], *fitted_with: bytes | memoryview) -> Path:
    """Where the head of these routes belongs; `fitted_with` are the other files that it depends on."""
    digest = hashlib.sha256(b"%d" % VERSION + msgspec.json.encode(list(routes)))
    for part in fitted_with:
        digest.update(hashlib.sha256(part).digest())
    return folder / f"{digest.hexdigest()[:32]}.bin"


def save(path: Path, head: OwnHead) -> None:
    """Write the file, complete or not at all, and forget the oldest of those beside it.

    Raises:
        OSError: it cannot be written.
    """
    told = _Head(*(getattr(head, name) for name in _Head.__struct_fields__))
    text = msgspec.json.encode(told)
    body = len(text).to_bytes(4, "little") + text + zlib.compress(np.ascontiguousarray(head.table.T).tobytes(), 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part")
    try:
        hashed_file.write(part, MAGIC, body)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    _forget(path.parent)


def _forget(folder: Path) -> None:
    """Delete all but the newest heads; what another process is doing to them at the same time is its own affair."""
    with contextlib.suppress(OSError):
        newest_first = sorted(folder.glob("*.bin"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
        for path in newest_first[MOST_KEPT:]:
            path.unlink()


def load(path: Path) -> OwnHead | None:
    """The head, or `None` where there is none that can be used."""
    try:
        body = hashed_file.read(path, MAGIC, "a head of routes")
        size = int.from_bytes(body[:4], "little")
        told = msgspec.json.decode(body[4 : 4 + size], type=_Head)
        inflated = zlib.decompressobj().decompress(body[4 + size :], _LARGEST)
        columns = np.frombuffer(inflated, np.int8).reshape(len(told.names) + 1, ROWS)
        return OwnHead(table=np.ascontiguousarray(columns.T), **msgspec.structs.asdict(told))
    except (DamagedFileError, ValueError, zlib.error, msgspec.MsgspecError):
        return None
