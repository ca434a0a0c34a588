"""Waiting, keeping alive, leaving and shutting down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence

import pytest
from starlette.types import Message

from app.api.answer import Collector
from app.api.chat import ChatDialect
from app.api.reply import Connection, Patience, Reply
from app.api.sse import PING, StreamEncoder
from app.orchestrator import Item, Job, Started
from app.settings.sections import ServerSettings
from backends.base import CapacityError, EngineCrashedError, ModelLoadingError, ModelUnavailableError
from backends.types import Accepted, Delta, GenerationRequest
from tests.app.asgi import Client, Exchange
from tests.app.doubles import FOREVER, INFO, OnePool, ScriptedEngine, Step, says
from tests.app.serving import SETTINGS, chat, serving, settings_with

PATH = "/v1/chat/completions"
IMPATIENT = settings_with(server=ServerSettings(header_wait_s=0.05))


HEAD = Started("double", INFO)


async def told(*script: Step, streams: bool = True) -> Exchange:
    """The answer to a request whose engine plays the script, where streams may be silent for 0.02 seconds."""
    items = play([HEAD, *script])
    job = Job("id", None, (GenerationRequest(id="id"),))
    encoder = StreamEncoder(ChatDialect(), job) if streams else Collector(ChatDialect(), job)
    return await Client(Reply(items, encoder, Patience(5, 0.02))).ask("GET", "/")


async def play(script: Sequence[Step | Started]) -> AsyncGenerator[Item]:
    for step in script:
        if isinstance(step, float):
            await asyncio.sleep(step)
        elif not isinstance(step, Exception):
            yield step


async def test_headers_wait_for_the_first_content() -> None:
    async with serving(ScriptedEngine([Accepted(3), 0.05, *says("a")[1:]])) as client:
        exchange = client.start(PATH, chat(stream=True))
        await asyncio.sleep(0.02)
        assert exchange.status == 0
        assert (await exchange.finished()).status == 200
    assert b"ping" not in exchange.body


async def test_after_the_wait_headers_go_out_with_a_comment() -> None:
    async with serving(ScriptedEngine([Accepted(3), 0.1, *says("a")[1:]]), IMPATIENT) as client:
        exchange = client.start(PATH, chat(stream=True))
        await exchange.until_sent()
        assert exchange.status == 200
        answer = await exchange.finished()
    assert answer.body.startswith(b": ping\n\ndata: ")
    assert answer.events[0]["choices"][0]["delta"]["role"] == "assistant"
    assert answer.data[-1] == "[DONE]"


async def test_waiting_for_the_model_keeps_the_stream_alive_too() -> None:
    async with serving(OnePool(ScriptedEngine(says("a")), wait_s=0.12), IMPATIENT) as client:
        answer = await client.post(PATH, chat(stream=True))
    assert answer.body.startswith(b": ping")


async def test_a_failure_after_the_headers_is_an_event() -> None:
    script: list[Step] = [Accepted(3), 0.1, CapacityError("full")]
    async with serving(ScriptedEngine(script), IMPATIENT) as client:
        answer = await client.post(PATH, chat(stream=True))
    assert (answer.status, answer.error["code"]) == (200, "capacity")
    assert answer.complete


async def test_silence_in_mid_stream_is_filled_with_comments() -> None:
    answer = await told(Accepted(3), Delta(0, "a"), 0.15, *says("b")[1:])
    before, _, after = answer.body.partition(b'"b"')
    assert before.count(b": ping\n\n") >= 2
    assert b"ping" not in after
    assert answer.data[-1] == "[DONE]"


async def test_a_comment_that_waits_behind_the_last_bytes_is_dropped() -> None:
    sent: list[bytes | None] = []
    reading = asyncio.Event()

    async def send(message: Message) -> None:
        await reading.wait()
        sent.append(message.get("body"))

    connection = Connection(send, [])
    writes = (connection.write(b"a"), connection.write(b"end", last=True), connection.write(PING))
    writing = asyncio.gather(*writes)
    await asyncio.sleep(0)
    reading.set()
    await writing
    assert sent == [None, b"a", b"end"]


async def test_a_plain_answer_has_no_comments() -> None:
    answer = await told(Accepted(3), 0.1, *says("a")[1:], streams=False)
    assert answer.json["choices"][0]["message"]["content"] == "a"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("script", [[FOREVER], [Accepted(3), FOREVER], [Accepted(3), Delta(0, "a"), FOREVER]])
async def test_a_client_that_leaves_stops_the_generation(script: list[Step], stream: bool) -> None:
    double = ScriptedEngine(script)
    pool = OnePool(double)
    async with serving(pool) as client:
        exchange = client.start(PATH, chat(stream=stream))
        while not double.running:
            await asyncio.sleep(0)
        await asyncio.sleep(0.01)
        exchange.leave()
        await exchange.finished()
        assert (double.running, pool.leased) == (0, 0)
    assert not exchange.complete


async def test_a_client_that_leaves_while_the_model_loads_gives_up_its_place() -> None:
    pool = OnePool(ScriptedEngine(says("a")), wait_s=FOREVER)
    async with serving(pool) as client:
        exchange = client.start(PATH, chat())
        while not pool.waiting:
            await asyncio.sleep(0)
        exchange.leave()
        await exchange.finished()
    assert (pool.waiting, pool.leases) == (0, 0)


@pytest.mark.parametrize("opened", [False, True])
async def test_a_server_that_shuts_down_says_so(opened: bool) -> None:
    script: list[Step] = [Accepted(3), Delta(0, "a"), FOREVER] if opened else [Accepted(3), FOREVER]
    double = ScriptedEngine(script)
    async with serving(double) as client:
        exchange = client.start(PATH, chat(stream=True))
        while not double.running:
            await asyncio.sleep(0)
        await asyncio.sleep(0.01)
        exchange.task.cancel()  # what uvicorn does when the time to drain is over
        await exchange.finished()
    assert (exchange.status, exchange.error["code"]) == (200 if opened else 503, "server_shutdown")
    assert exchange.complete
    assert double.running == 0


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("error", "code", "headers"),
    [
        (CapacityError("full", retry_after_s=2.5), "capacity", {"retry-after": "3"}),
        (ModelLoadingError("loading", retry_after_s=7), "model_loading", {"retry-after": "7"}),
        (ModelUnavailableError("no such file"), "model_unavailable", {"x-should-retry": "false"}),
    ],
)
async def test_what_the_pool_refuses_is_a_503(
    error: Exception, code: str, headers: dict[str, str], stream: bool
) -> None:
    async with serving(OnePool(error)) as client:
        answer = await client.post(PATH, chat(stream=stream))
    assert (answer.status, answer.error["code"]) == (503, code)
    assert headers.items() <= answer.headers.items()
    assert ("retry-after" in answer.headers) == ("retry-after" in headers)


async def test_a_crash_before_anything_was_sent_is_not_seen() -> None:
    dead, fresh = ScriptedEngine([EngineCrashedError("it died")]), ScriptedEngine(says("a"))
    async with serving(OnePool(dead, fresh), SETTINGS) as client:
        answer = await client.post(PATH, chat(stream=True))
    assert (answer.status, answer.data[-1]) == (200, "[DONE]")


async def test_many_requests_leave_no_task_behind() -> None:
    async with serving(ScriptedEngine(says("a", "b"))) as client:
        before = len(asyncio.all_tasks())
        exchanges = [client.start(PATH, chat(stream=number % 2 == 0)) for number in range(100)]
        for number, exchange in enumerate(exchanges):
            if number % 3 == 0:
                exchange.leave()
        for exchange in exchanges:
            await exchange.finished()
        assert len(asyncio.all_tasks()) == before
