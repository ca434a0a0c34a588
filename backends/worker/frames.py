"""The frames between the edge and a worker: msgspec structs in msgpack, each behind a 4-byte big-endian length.

A frame holds at most `MAX_FRAME_BYTES` in either direction. The edge speaks first (`Configure`), the worker answers
with any number of `Progress` and then `Ready` or `Fatal`. After that both sides speak whenever they have something to
say. Streams and calls carry numbers that the edge hands out; they are never reused within a connection.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Struct

from backends.base import EngineError, error_classes
from backends.types import Capabilities, Embedding, EngineConfig, Event, GenerationRequest, ModelInfo, TokenPiece

MAX_FRAME_BYTES = 16 * 1024 * 1024

_LENGTH = struct.Struct(">I")
_ENCODER = msgspec.msgpack.Encoder()
_ERRORS = error_classes()

Incoming = TypeVar("Incoming")
StreamEvent = Event | Embedding
"""What a stream brings: events of a generation, or vectors."""


class FrameError(Exception):
    """Bytes that are no frame of ours, or a frame over the cap; the connection cannot go on (receiver's side)."""


class ErrorInfo(Struct, frozen=True):
    """An `EngineError` on its way to the other process."""

    kind: str
    message: str
    param: str | None = None
    retry_after_s: float | None = None

    @classmethod
    def of(cls, error: EngineError) -> ErrorInfo:
        """The fields of `error`."""
        return cls(error.kind, error.message, error.param, error.retry_after_s)

    def rebuild(self) -> EngineError:
        """A new error of the same class; the root class for a kind that this process does not know."""
        build = _ERRORS.get(self.kind, EngineError)
        return build(self.message, param=self.param, retry_after_s=self.retry_after_s)


class _Frame(Struct, frozen=True, tag=True, array_like=True):
    """Fields travel in order, without their names."""


class Configure(_Frame, frozen=True):
    """Edge: which engine to host. The first frame of a connection."""

    config: EngineConfig


class Generate(_Frame, frozen=True):
    """Edge: open stream `stream`."""

    stream: int
    request: GenerationRequest


class Embed(_Frame, frozen=True):
    """Edge: open stream `stream`; its events are one `Embedding` per input, in order.

    A stream, because the vectors of a large call do not fit into one frame, and because it can be aborted.
    """

    stream: int
    inputs: tuple[tuple[int, ...] | str, ...]
    dimensions: int | None = None


class Abort(_Frame, frozen=True):
    """Edge: nobody reads `stream` any more; not answered."""

    stream: int


class Tokenize(_Frame, frozen=True):
    """Operation of a `Call`; its value is a list of `TokenPiece`."""

    text: str
    add_special: bool


class Detokenize(_Frame, frozen=True):
    """Operation of a `Call`; its value is a text."""

    token_ids: tuple[int, ...]


class Stats(_Frame, frozen=True):
    """Operation of a `Call`; its value is a map."""


Operation = Tokenize | Detokenize | Stats

REPLY_TYPES: dict[type[Operation], Any] = {
    Tokenize: list[TokenPiece],
    Detokenize: str,
    Stats: dict[str, Any],
}


class Call(_Frame, frozen=True):
    """Edge: one question with one answer."""

    call: int
    operation: Operation


class Ping(_Frame, frozen=True):
    """Edge: still here, and are you?"""


class Close(_Frame, frozen=True):
    """Edge: abort what runs, release the model and exit."""


class Progress(_Frame, frozen=True):
    """Worker: the fraction of the model that is loaded, 0 to 1."""

    fraction: float


class Ready(_Frame, frozen=True):
    """Worker: the model answers from now on."""

    info: ModelInfo
    capabilities: Capabilities


class Fatal(_Frame, frozen=True):
    """Worker: the engine cannot be loaded; the process ends."""

    error: ErrorInfo


class Events(_Frame, frozen=True):
    """Worker: what one engine step gave to all of its streams, in order."""

    events: list[tuple[int, StreamEvent]]


class Done(_Frame, frozen=True):
    """Worker: `stream` is complete."""

    stream: int


class Failed(_Frame, frozen=True):
    """Worker: `stream` ends with an error."""

    stream: int
    error: ErrorInfo


class Reply(_Frame, frozen=True):
    """Worker: the answer to a `Call`, encoded as `REPLY_TYPES` says, or an error in its place."""

    call: int
    value: msgspec.Raw
    error: ErrorInfo | None = None


class Pong(_Frame, frozen=True):
    """Worker: the event loop turns."""


EdgeFrame = Configure | Generate | Embed | Abort | Call | Ping | Close
WorkerFrame = Progress | Ready | Fatal | Events | Done | Failed | Reply | Pong

NO_VALUE = msgspec.Raw(_ENCODER.encode(None))


def encode(frame: EdgeFrame | WorkerFrame) -> bytes:
    """The bytes of a frame, length included.

    Raises:
        FrameError: the frame is over the cap or holds a text that is not Unicode (a lone surrogate).
    """
    try:
        payload = _ENCODER.encode(frame)
    except UnicodeEncodeError as error:
        raise FrameError(f"the text is not valid Unicode: {error.reason}") from error
    if len(payload) > MAX_FRAME_BYTES:
        raise FrameError(f"{len(payload)} bytes are more than the {MAX_FRAME_BYTES} that fit into one message")
    return _LENGTH.pack(len(payload)) + payload


class FrameDecoder(Generic[Incoming]):
    """Turns a byte stream, cut anywhere, into frames of one direction."""

    def __init__(self, frame_type: Any) -> None:
        self._decoder: msgspec.msgpack.Decoder[Incoming] = msgspec.msgpack.Decoder(frame_type)
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Incoming]:
        """Frames that `data` completes.

        Raises:
            FrameError: a length over the cap (before any of it is stored), or a payload that is no frame.
        """
        self._buffer += data
        while len(self._buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer)
            if length > MAX_FRAME_BYTES:
                raise FrameError(f"a frame of {length} bytes was announced; the limit is {MAX_FRAME_BYTES}")
            end = _LENGTH.size + length
            if len(self._buffer) < end:
                return
            payload = bytes(self._buffer[_LENGTH.size : end])
            del self._buffer[:end]
            yield self._decode(payload)

    def _decode(self, payload: bytes) -> Incoming:
        try:
            return self._decoder.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise FrameError(f"not a frame: {error}") from error
