import asyncio
import socket

import pytest

from backends.worker import frames
from backends.worker.connection import WRITE_BUFFER_BYTES, Connection, Silence


def connection(received: list[frames.WorkerFrame], lost: list[str | None]) -> Connection[frames.WorkerFrame]:
    return Connection(frames.WorkerFrame, on_frame=received.append, on_lost=lost.append)


@pytest.mark.parametrize(
    "heard, verdicts",
    [
        ([False, False, False], [False, False, True]),
        ([False, False, True, False, False], [False] * 5),
        ([True, False, False, False, False], [False, False, False, True, True]),
    ],
)
def test_silence_is_counted_in_ticks_since_the_last_word(heard: list[bool], verdicts: list[bool]) -> None:
    silence = Silence(limit_s=3.0, interval_s=1.0)
    assert [silence.tick(word) for word in heard] == verdicts


async def test_drain_holds_a_writer_whose_peer_does_not_read() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        writer = connection([], [])
        await writer.open(ours)
        await asyncio.wait_for(writer.drain(), 5)
        writer.write(bytes(4 * WRITE_BUFFER_BYTES))
        held = asyncio.ensure_future(writer.drain())
        assert await asyncio.wait([held], timeout=0.05) == (set(), {held})
        theirs.setblocking(False)
        loop, read = asyncio.get_running_loop(), 0
        while read < 4 * WRITE_BUFFER_BYTES:
            read += len(await loop.sock_recv(theirs, 1 << 20))
        await asyncio.wait_for(held, 5)
        writer.close()


async def test_frames_arrive_and_a_hang_up_has_no_reason() -> None:
    received: list[frames.WorkerFrame] = []
    lost: list[str | None] = []
    ours, theirs = socket.socketpair()
    with theirs:
        await connection(received, lost).open(ours)
        theirs.sendall(frames.encode(frames.Pong()) + frames.encode(frames.Done(3)))
    async with asyncio.timeout(5):
        while not lost:
            await asyncio.sleep(0)
    assert (received, lost) == ([frames.Pong(), frames.Done(3)], [None])


async def test_garbage_ends_the_connection_with_a_reason() -> None:
    lost: list[str | None] = []
    ours, theirs = socket.socketpair()
    with theirs:
        await connection([], lost).open(ours)
        theirs.sendall(b"HTTP/1.1 400 Bad Request\r\n")
        async with asyncio.timeout(5):
            while not lost:
                await asyncio.sleep(0)
    assert lost[0] is not None and "limit" in lost[0]


async def test_marks_say_what_happened_since_they_were_taken() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        peer = connection([], [])
        await peer.open(ours)
        assert peer.take_marks() == (False, False)
        peer.write(frames.encode(frames.Ping()))
        assert peer.take_marks() == (False, True)
        assert peer.take_marks() == (False, False)
        peer.close()
        await asyncio.sleep(0)
