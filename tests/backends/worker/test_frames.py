import struct

import msgspec
import pytest

from backends import base
from backends.types import (
    Accepted,
    Delta,
    Embedding,
    GenerationRequest,
    Message,
    SamplingParams,
    StopParams,
    TextPart,
    TokenPiece,
    Tool,
    Usage,
)
from backends.worker import frames

REQUEST = GenerationRequest(
    id="r1",
    messages=(Message("user", (TextPart("hé"),)),),
    sampling=SamplingParams(seed=1, logit_bias={7: -100.0}),
    stopping=StopParams(stop=("\n",)),
    tools=(Tool("f", None, {"type": "object", "x": [1, 2.5, None]}),),
)
EVENTS: list[tuple[int, frames.StreamEvent]] = [
    (1, Accepted(5)),
    (2, Delta(1, "é", (3,), finish_reason="stop", usage=Usage(1, 2))),
    (3, Embedding(b"\x00\xff", 4)),
]


def worker_frames(data: bytes) -> list[frames.WorkerFrame]:
    return list(frames.FrameDecoder[frames.WorkerFrame](frames.WorkerFrame).feed(data))


@pytest.mark.parametrize(
    "frame",
    [
        frames.Generate(1, REQUEST),
        frames.Abort(1),
        frames.Call(1, frames.Tokenize("a", True)),
        frames.Embed(2, ((1, 2), "text"), 64),
        frames.Call(3, frames.Stats()),
        frames.Ping(),
        frames.Close(),
    ],
)
def test_edge_frames_survive_the_round_trip(frame: frames.EdgeFrame) -> None:
    decoder = frames.FrameDecoder[frames.EdgeFrame](frames.EdgeFrame)
    assert list(decoder.feed(frames.encode(frame))) == [frame]


def test_events_survive_the_round_trip_one_byte_at_a_time() -> None:
    decoder = frames.FrameDecoder[frames.WorkerFrame](frames.WorkerFrame)
    data = frames.encode(frames.Events(EVENTS)) + frames.encode(frames.Done(2))
    received = [frame for byte in data for frame in decoder.feed(bytes([byte]))]
    assert received == [frames.Events(EVENTS), frames.Done(2)]


def test_a_reply_is_decoded_by_the_type_of_its_operation() -> None:
    pieces = [TokenPiece(1, b"\xff")]
    value = msgspec.Raw(msgspec.msgpack.encode(pieces))
    [reply] = worker_frames(frames.encode(frames.Reply(9, value)))
    assert isinstance(reply, frames.Reply)
    assert msgspec.msgpack.decode(reply.value, type=frames.REPLY_TYPES[frames.Tokenize]) == pieces


@pytest.mark.parametrize("kind, error_class", list(base.error_classes().items()))
def test_every_error_is_rebuilt_as_its_own_class(kind: str, error_class: type[base.EngineError]) -> None:
    error = frames.ErrorInfo.of(error_class("why", param="stop", retry_after_s=2.5)).rebuild()
    assert type(error) is error_class
    assert (error.kind, error.message, error.param, error.retry_after_s) == (kind, "why", "stop", 2.5)


def test_an_unknown_kind_becomes_the_root_class() -> None:
    assert type(frames.ErrorInfo("of_the_future", "why").rebuild()) is base.EngineError


def test_a_frame_over_the_cap_is_not_sent() -> None:
    with pytest.raises(frames.FrameError, match="more than the 16777216"):
        frames.encode(frames.Call(1, frames.Tokenize("x" * frames.MAX_FRAME_BYTES, False)))


def test_a_lone_surrogate_is_not_sent() -> None:
    with pytest.raises(frames.FrameError, match="Unicode"):
        frames.encode(frames.Call(1, frames.Tokenize("\ud800", False)))


@pytest.mark.parametrize(
    "data",
    [
        struct.pack(">I", frames.MAX_FRAME_BYTES + 1),
        struct.pack(">I", 3) + b"\xc1\xc1\xc1",
        struct.pack(">I", 4) + msgspec.msgpack.encode(["x", 1]),
        struct.pack(">I", 1) + b"\x80",
        struct.pack(">I", 0),
        struct.pack(">I", 3000) + b"\x91" * 3000,
        frames.encode(frames.Ping()),
        frames.encode(frames.Generate(1, REQUEST)),
    ],
)
def test_garbage_and_frames_of_the_other_direction_are_refused(data: bytes) -> None:
    with pytest.raises(frames.FrameError):
        worker_frames(data)
