"""What the weights file holds: the size of the head, the head in JSON, the collapsed table deflated."""

from __future__ import annotations

import zlib
from pathlib import Path

import msgspec
import numpy as np

from app.routing.decisions import Thresholds
from app.routing.features import ROWS
from app.routing.scoring import EXTRA, Calibration, Collapsed
from app.routing.weights_file import BUILT_IN, DamagedWeightsError, read, write

_LARGEST = 16_000_000


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
    write(path, body)


def load(path: Path = BUILT_IN) -> Weights:
    """Read the file.

    Raises:
        DamagedWeightsError: there is none, or it is not as it was written.
    """
    body = read(path)
    try:
        size = int.from_bytes(body[:4], "little")
        head = msgspec.json.decode(body[4 : 4 + size], type=_Head)
        width = len(head.routes) + EXTRA
        inflate = zlib.decompressobj()
        columns = np.frombuffer(inflate.decompress(body[4 + size :], _LARGEST), np.int8).reshape(width, ROWS)
        model = Collapsed(head.routes, np.ascontiguousarray(columns.T), head.scale, head.bias, head.calibration)
    except (ValueError, zlib.error, msgspec.MsgspecError) as error:
        raise DamagedWeightsError(f"{path} cannot be used: {error}") from None
    return Weights(model, head.thresholds)
