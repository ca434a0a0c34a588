import asyncio
import json
import os
import socket
import struct
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from backends.types import Accepted, Delta, GenerationRequest
from backends.worker import frames
from backends.worker.host import Outbox
from tests.backends.worker.processes import stub_config

ROOT = Path(__file__).parents[3]
HOST = """
import asyncio, socket, sys
from backends.worker.host import Host

async def main():
    await Host(edge_silence_s=float(sys.argv[2]), tick_s=0.1).serve(socket.socket(fileno=int(sys.argv[1])))

asyncio.run(main())
"""


class Edge:
    """The other end of a host's socket, frame by frame."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._decoder = frames.FrameDecoder[frames.WorkerFrame](frames.WorkerFrame)
        self._frames: list[frames.WorkerFrame] = []

    async def send(self, *sent: frames.EdgeFrame | bytes) -> None:
        data = b"".join(frame if isinstance(frame, bytes) else frames.encode(frame) for frame in sent)
        await asyncio.get_running_loop().sock_sendall(self._sock, data)

    async def receive(self) -> frames.WorkerFrame | None:
        """The next frame that is no progress; `None` at the end."""
        while not self._frames:
            data = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self._sock, 1 << 20), 10)
            if not data:
                return None
            self._frames += [frame for frame in self._decoder.feed(data) if not isinstance(frame, frames.Progress)]
        return self._frames.pop(0)


@asynccontextmanager
async def hosted(
    *, ready: bool = True, silence_s: float = 60.0
) -> AsyncIterator[tuple[Edge, asyncio.subprocess.Process]]:
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            command = [sys.executable, "-c", HOST, str(theirs.fileno()), str(silence_s)]
            process = await asyncio.create_subprocess_exec(
                *command, pass_fds=[theirs.fileno()], cwd=ROOT, start_new_session=True
            )
        edge = Edge(ours)
        if ready:
            await edge.send(frames.Configure(stub_config()))
            assert isinstance(await edge.receive(), frames.Ready)
        yield edge, process
    await asyncio.wait_for(process.wait(), 10)


def ask(script: dict[str, Any]) -> GenerationRequest:
    return GenerationRequest(id="r", prompt=json.dumps(script))


def events_of(frame: frames.WorkerFrame | None) -> list[tuple[int, frames.StreamEvent]]:
    assert isinstance(frame, frames.Events)
    return frame.events


async def test_a_step_of_several_streams_is_one_write_with_one_frame_of_events() -> None:
    writes: list[bytes] = []
    outbox = Outbox(writes.append, lambda _stream: None)
    outbox.event(1, Accepted(1))
    outbox.frame(frames.Done(1))
    outbox.event(2, Accepted(2))
    assert writes == []
    await asyncio.sleep(0)
    expected = frames.encode(frames.Events([(1, Accepted(1)), (2, Accepted(2))])) + frames.encode(frames.Done(1))
    assert writes == [expected]


async def test_events_over_the_cap_are_split_and_a_single_one_fails_its_stream() -> None:
    writes: list[bytes] = []
    aborted: list[int] = []
    outbox = Outbox(writes.append, aborted.append)
    for stream, size in enumerate([3, 3, 5, 0]):
        outbox.event(stream, Delta(text="x" * (size * frames.MAX_FRAME_BYTES // 4)))
    outbox.flush()
    received = list(frames.FrameDecoder[frames.WorkerFrame](frames.WorkerFrame).feed(writes[0]))
    complete = [stream for frame in received if isinstance(frame, frames.Events) for stream, _ in frame.events]
    failed = [frame.stream for frame in received if isinstance(frame, frames.Failed)]
    assert (complete, failed, aborted) == ([0, 1, 3], [2], [2])


async def test_a_ping_is_answered_before_the_model_is_loaded() -> None:
    async with hosted(ready=False) as (edge, _process):
        await edge.send(frames.Configure(stub_config(load_s=60)), frames.Ping())
        assert await edge.receive() == frames.Pong()


async def test_an_edge_that_falls_silent_loses_its_requests_but_not_the_worker() -> None:
    async with hosted(silence_s=0.3) as (edge, _process):
        await edge.send(frames.Generate(1, ask({"tokens": 9, "hang_at": 1})))
        assert len(events_of(await edge.receive())) == 2
        failed = await edge.receive()
        assert isinstance(failed, frames.Failed) and failed.error.kind == "engine_timeout"
        await edge.send(frames.Generate(2, ask({"text": "hi"})))
        assert len(events_of(await edge.receive())) == 3
        assert await edge.receive() == frames.Done(2)


async def test_pings_keep_requests_alive() -> None:
    async with hosted(silence_s=1.0) as (edge, _process):
        await edge.send(frames.Generate(1, ask({"tokens": 9, "hang_at": 1})))
        assert len(events_of(await edge.receive())) == 2
        for _ in range(12):
            await asyncio.sleep(0.1)
            await edge.send(frames.Ping())
            assert await edge.receive() == frames.Pong()


async def test_an_edge_that_reads_late_still_gets_everything() -> None:
    async with hosted() as (edge, _process):
        request = GenerationRequest(id="r", prompt=json.dumps({"tokens": 8000}))
        await edge.send(*(frames.Generate(stream, request) for stream in range(4)))
        await asyncio.sleep(0.2)
        counts = dict.fromkeys(range(4), 0)
        while counts:
            match await edge.receive():
                case frames.Events(events):
                    for stream, _ in events:
                        counts[stream] += 1
                case frames.Done(stream):
                    assert counts.pop(stream) == 8000 + 2


async def test_the_end_of_the_socket_is_the_end_of_the_process() -> None:
    async with hosted() as (edge, _process):
        await edge.send(frames.Generate(1, ask({"tokens": 9, "hang_at": 1})))
        await edge.receive()


async def test_close_is_an_orderly_end() -> None:
    async with hosted() as (edge, process):
        await edge.send(frames.Generate(1, ask({"tokens": 9, "hang_at": 1})), frames.Close())
        assert await process.wait() == 0


async def test_close_interrupts_the_loading() -> None:
    async with hosted(ready=False) as (edge, process):
        await edge.send(frames.Configure(stub_config(load_s=600)), frames.Close())
        await asyncio.wait_for(process.wait(), 10)


@pytest.mark.parametrize(
    "data",
    [
        struct.pack(">I", frames.MAX_FRAME_BYTES + 1),
        b"\0\0\0\2hi",
        frames.encode(frames.Pong()),
        frames.encode(frames.Configure(stub_config())),
    ],
)
async def test_nonsense_from_the_edge_ends_the_process(data: bytes) -> None:
    async with hosted() as (edge, process):
        await edge.send(data)
        assert await asyncio.wait_for(process.wait(), 10) != 0


async def test_a_process_whose_parent_is_another_one_ends_at_once() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        command = [sys.executable, "-m", "backends.worker", str(theirs.fileno()), str(os.getppid())]
        process = await asyncio.create_subprocess_exec(
            *command, pass_fds=[theirs.fileno()], cwd=ROOT, start_new_session=True
        )
        assert await asyncio.wait_for(process.wait(), 10) != 0
