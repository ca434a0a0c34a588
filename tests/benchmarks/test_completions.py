"""The client: when text came and how many tokens there were, against a server that answers from a script."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from benchmarks.client import RefusedError
from benchmarks.completions import Answer, complete

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(text: str, **fields: object) -> bytes:
    return b"data: " + json.dumps({"choices": [{"text": text}], **fields}).encode() + b"\n\n"


@asynccontextmanager
async def scripted(*pieces: bytes, requests: list[bytes] | None = None) -> AsyncIterator[str]:
    """The URL of a server that answers every request with these pieces, a moment apart, and closes."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        body = await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
        if requests is not None:
            requests.append(body)
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(0.001)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def answered(pieces: Sequence[bytes]) -> Answer:
    async with scripted(*pieces) as url:
        return await complete(url, " prompt", 3)


async def test_the_first_text_is_the_first_that_is_not_empty() -> None:
    answer = await answered([HEAD, chunk(event("")), chunk(b": ping\n\n"), chunk(event(" a")), chunk(event(" b")), END])
    assert len(answer.arrivals) == answer.tokens == 2
    assert answer.began < answer.arrivals[0] < answer.arrivals[1] <= answer.ended
    assert answer.first_s == answer.arrivals[0] - answer.began


async def test_events_may_be_cut_anywhere() -> None:
    text = event(" a") + event(" b") + b"data: [DONE]\n\n"
    pieces = [chunk(text[start : start + 7]) for start in range(0, len(text), 7)]
    assert len((await answered([HEAD, *pieces, END])).arrivals) == 2


async def test_the_servers_own_count_of_tokens_wins() -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 9}
    answer = await answered([HEAD, chunk(event(" a")), chunk(event(" b")), chunk(event("", usage=usage)), END])
    assert answer.tokens == 9
    assert answer.decode_rate == 8 / (answer.arrivals[1] - answer.arrivals[0])


async def test_an_error_event_and_an_error_status_are_refusals() -> None:
    with pytest.raises(RefusedError, match="too long"):
        await answered([HEAD, chunk(b'data: {"error": {"message": "too long"}}\n\n'), END])
    with pytest.raises(RefusedError, match="status 400: no such field"):
        await answered([b"HTTP/1.1 400 Bad Request\r\nContent-Length: 13\r\n\r\nno such field"])


async def test_an_answer_that_is_cut_off_is_an_error_and_keeps_what_came() -> None:
    answer = Answer()
    async with scripted(HEAD, chunk(event(" a"))) as url:
        with pytest.raises(EOFError):
            await complete(url, " prompt", 3, answer=answer)
    assert answer.tokens == 1


async def test_an_answer_without_text_has_no_time_to_the_first_text() -> None:
    with pytest.raises(RefusedError, match="without any text"):
        _ = (await answered([HEAD, END])).first_s


async def test_sampling_is_left_to_the_server_unless_given() -> None:
    requests: list[bytes] = []
    async with scripted(HEAD, END, requests=requests) as url:
        await complete(url, " prompt", 3, temperature=None)
        await complete(url, " prompt", 3, temperature=0.0)
    bare, given = map(json.loads, requests)
    assert "temperature" not in bare
    assert (given["temperature"], given["max_tokens"], given["stream"]) == (0.0, 3, True)


def test_gaps_are_those_that_end_in_a_span_of_time() -> None:
    answer = Answer(arrivals=[1.0, 2.0, 4.0, 8.0])
    assert answer.gaps() == [1, 2, 4]
    assert answer.gaps(start=3.0, end=5.0) == [2]
