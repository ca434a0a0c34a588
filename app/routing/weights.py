"""The weights file: the collapsed table with its calibration, checked by a hash before anything of it is used.

A line of JSON (the hash of what follows, then sizes), the head in JSON, the table deflated.
"""

from __future__ import annotations

import hashlib
import zlib
from pathlib import Path

import msgspec
import numpy as np

from app.routing.decisions import Thresholds
from app.routing.features import ROWS
from app.routing.scoring import EXTRA, Calibration, Collapsed

BUILT_IN = Path(__file__).resolve().parents[2] / "models" / "router" / "router.bin"
MAGIC = b"JARVISR1"
_DIGEST = 32
_LARGEST = 16_000_000


class DamagedWeightsError(Exception):
    """The file is missing, or not what was written; the message says which."""


class Weights(msgspec.Struct, frozen=True):
    """All that a router needs besides its experts."""

    model: Collapsed
    thresholds: Thresholds = Thresholds()


class _Head(msgspec.Struct):
    routes: tuple[str, ...]
    scale: float
    bias: tuple[float, ...]
    calibration: Calibration
    thresholds: Thresholds


def save(path: Path, weights: Weights) -> None:
    """Write the file."""
    model = weights.model
    head = msgspec.json.encode(_Head(model.routes, model.scale, model.bias, model.calibration, weights.thresholds))
    # Column by column, since a column's neighbours are alike and deflate to less.
    body = len(head).to_bytes(4, "little") + head + zlib.compress(np.ascontiguousarray(model.table.T).tobytes(), 9)
    path.write_bytes(MAGIC + hashlib.sha256(body).digest() + body)


def load(path: Path = BUILT_IN) -> Weights:
    """Read the file.

    Raises:
        DamagedWeightsError: there is none, or it is not as it was written.
    """
    body = memoryview(checked(path))[len(MAGIC) + _DIGEST :]
    try:
        size = int.from_bytes(body[:4], "little")
        head = msgspec.json.decode(body[4 : 4 + size], type=_Head)
        width = len(head.routes) + EXTRA
        inflate = zlib.decompressobj()
        columns = np.frombuffer(inflate.decompress(body[4 + size :], _LARGEST), np.int8).reshape(width, ROWS)
        model = Collapsed(head.routes, np.ascontiguousarray(columns.T), head.scale, head.bias, head.calibration)
    except (ValueError, zlib.error, msgspec.MsgspecError) as error:
        raise DamagedWeightsError(f"{path.name} cannot be used: {error}") from None
    return Weights(model, head.thresholds)


def checked(path: Path = BUILT_IN) -> bytes:
    """The file's bytes, whose hash is right; raises as `load` does."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DamagedWeightsError(f"{path.name} cannot be read: {error.strerror}") from None
    if not data.startswith(MAGIC) or len(data) < len(MAGIC) + _DIGEST:
        raise DamagedWeightsError(f"{path.name} is no file of the router's weights")
    if hashlib.sha256(data[len(MAGIC) + _DIGEST :]).digest() != data[len(MAGIC) :][:_DIGEST]:
        raise DamagedWeightsError(f"{path.name} is damaged: its hash is not the one written in it")
    return data
