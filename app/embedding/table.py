"""What the embedding's file holds: the head in JSON, the vocabulary deflated, a scale per row, the rows as they are."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from app.embedding.file import BUILT_IN, read, write
from app.embedding.static import Floats, StaticEmbedder
from app.embedding.wordpiece import WordPiece
from app.hashed_file import DamagedFileError

_LARGEST_VOCABULARY = 4_000_000


class _Head(msgspec.Struct):
    width: int
    rows: int
    first: int
    buckets: int
    vocabulary_bytes: int


class Quantised(NamedTuple):
    """Rows in int8 with one scale each: `table[rows, width]` times `scales[rows]`."""

    table: NDArray[np.int8]
    scales: Floats


def quantised(rows: Floats) -> Quantised:
    """Each row in int8, its largest number as ±127; a scale is a float16 that the file can hold."""
    scales = np.maximum(np.abs(rows).max(1) / 127, 1e-7).astype(np.float16).astype(np.float32)
    table = np.clip(np.rint(rows / np.maximum(scales, 1e-7)[:, None]), -127, 127).astype(np.int8)
    return Quantised(table, scales)


def save(path: Path, vocabulary: list[str], rows: Quantised, first: int) -> None:
    """Write the file: a row per token from id `first` on, those of unknown words, and the one for nothing."""
    packed = zlib.compress("\n".join(vocabulary).encode(), 9)
    count, width = rows.table.shape
    buckets = count - 1 - (len(vocabulary) - first)
    head = msgspec.json.encode(_Head(width, count, first, buckets, len(packed)))
    scales = rows.scales.astype("<f2").tobytes()
    write(path, len(head).to_bytes(4, "little") + head + packed + scales + rows.table.tobytes())


def load(path: Path = BUILT_IN) -> StaticEmbedder:
    """Read the file.

    Raises:
        DamagedFileError: there is none, or it is not as it was written.
    """
    body = read(path)
    try:
        begin = 4 + int.from_bytes(body[:4], "little")
        head = msgspec.json.decode(body[4:begin], type=_Head)
        scales_at = begin + head.vocabulary_bytes
        table_at = scales_at + 2 * head.rows
        packed = body[begin:scales_at]
        vocabulary = zlib.decompressobj().decompress(packed, _LARGEST_VOCABULARY).decode().split("\n")
        scales = np.frombuffer(body[scales_at:table_at], "<f2").astype(np.float32)
        table = np.frombuffer(body[table_at:], np.int8).reshape(head.rows, head.width)
        return StaticEmbedder(WordPiece(vocabulary, head.buckets), table, scales, head.first)
    except (ValueError, zlib.error, msgspec.MsgspecError) as error:
        raise DamagedFileError(f"{path} cannot be used: {error}") from None
