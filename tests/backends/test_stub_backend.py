import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends import base
from backends.stub_backend import StubEngine
from backends.stub_script import join, split, token_bytes, token_id
from backends.types import (
    Accepted,
    Constraint,
    Delta,
    EngineConfig,
    Event,
    GenerationRequest,
    Message,
    SamplingParams,
    StopParams,
    TextPart,
)

CONFIG = EngineConfig(engine="stub", model="stub", alias="stub", cache_dir="")


def ask(script: dict[str, Any] | str, **fields: Any) -> GenerationRequest:
    text = script if isinstance(script, str) else json.dumps(script)
    return GenerationRequest(id="r", messages=(Message("user", (TextPart(text),)),), **fields)


async def play(request: GenerationRequest, **config: Any) -> list[Event]:
    engine = StubEngine(EngineConfig(engine="stub", model="stub", alias="stub", cache_dir="", **config))
    return [event async for event in engine.stream(request)]


async def deltas(request: GenerationRequest, index: int = 0) -> list[Delta]:
    return [event for event in await play(request) if isinstance(event, Delta) and event.index == index]


async def answer(request: GenerationRequest, index: int = 0) -> tuple[str, str | None]:
    events = await deltas(request, index)
    return "".join(delta.text for delta in events), events[-1].finish_reason


async def test_plain_text_comes_back_one_delta_per_token() -> None:
    events = await play(ask("one two three"))
    assert events[0] == Accepted(len(split("user: one two three")))
    assert [event.text for event in events[1:] if isinstance(event, Delta)] == ["one", " two", " three", ""]
    assert isinstance(events[-1], Delta) and events[-1].usage is not None
    assert (events[-1].finish_reason, events[-1].usage.completion_tokens) == ("stop", 3)


async def test_a_prompt_is_a_script_too() -> None:
    assert await answer(GenerationRequest(id="r", prompt='{"text": "hi"}')) == ("hi", "stop")


async def test_token_ids_are_a_prompt_too() -> None:
    ids = tuple(map(token_id, split("three small words")))
    assert await answer(GenerationRequest(id="r", token_ids=ids)) == ("three small words", "stop")


@pytest.mark.parametrize(
    "script, text",
    [
        ({"text": "naïve 😀\n日本"}, "naïve 😀\n日本"),
        ({"echo": "again"}, "again"),
        ({"json": {"a": [1, None]}}, '{"a":[1,null]}'),
        ({"json": None}, "null"),
        ({"tokens": 3}, "alpha beta gamma"),
        ("{not json", "{not json"),
        ("", ""),
    ],
)
async def test_scripts_say_what_to_answer(script: dict[str, Any] | str, text: str) -> None:
    assert await answer(ask(script)) == (text, "stop")


async def test_seed_and_choice_vary_generated_words() -> None:
    request = ask({"tokens": 2}, n=2, sampling=SamplingParams(seed=1))
    assert [(await answer(request, index))[0] for index in (0, 1)] == ["beta gamma", "gamma delta"]


async def test_choices_take_turns() -> None:
    order = [event.index for event in await play(ask("one two", n=2)) if isinstance(event, Delta)]
    assert order == [0, 1, 0, 1, 0, 1]


@pytest.mark.parametrize(
    "stopping, text, finish",
    [
        (StopParams(max_tokens=2), "one two", "length"),
        (StopParams(max_tokens=4), "one two three", "stop"),
        (StopParams(max_tokens=0), "", "length"),
        (StopParams(max_tokens=5, ignore_eos=True), "one two threeone two", "length"),
        (StopParams(min_tokens=4), "one two threeone", "stop"),
        (StopParams(stop=("wo t",)), "one t", "stop"),
        (StopParams(stop=("wo t",), include_stop=True), "one two t", "stop"),
        (StopParams(stop=("e", "two")), "on", "stop"),
        (StopParams(stop=("e",), min_tokens=3), "one two thr", "stop"),
        (StopParams(stop=("absent", "")), "one two three", "stop"),
        (StopParams(stop_token_ids=(token_id(" two"),)), "one", "stop"),
    ],
)
async def test_an_answer_ends_where_it_is_told(stopping: StopParams, text: str, finish: str) -> None:
    assert await answer(ask("one two three", stopping=stopping)) == (text, finish)


async def test_a_stop_text_costs_the_tokens_that_completed_it() -> None:
    usage = (await deltas(ask("one two three", stopping=StopParams(stop=("wo t",)))))[-1].usage
    assert usage is not None and usage.completion_tokens == 3


async def test_the_finish_reason_can_be_scripted() -> None:
    assert await answer(ask({"text": "no", "finish": "content_filter"})) == ("no", "content_filter")


async def test_a_tool_call_comes_in_fragments() -> None:
    events = await deltas(ask({"text": "Hm", "tool_call": {"name": "add", "arguments": {"a": 1, "b": [2]}}}))
    calls = [delta.tool_call for delta in events if delta.tool_call is not None]
    assert (calls[0].id, calls[0].name) == ("call_0", "add")
    assert all(call.id is None and call.name is None for call in calls[1:])
    assert json.loads("".join(call.arguments for call in calls)) == {"a": 1, "b": [2]}
    assert (events[0].text, events[-1].finish_reason) == ("Hm", "tool_calls")


async def test_echo_puts_the_prompt_first() -> None:
    assert await answer(GenerationRequest(id="r", prompt="one", echo=True)) == ("oneone", "stop")


async def test_a_failure_comes_at_its_token() -> None:
    stream = StubEngine(CONFIG).stream(ask({"text": "one two three", "fail_at": 2, "error": "capacity"}))
    events = []
    with pytest.raises(base.CapacityError, match="token 2") as caught:
        async for event in stream:
            events.append(event)
    assert len(events) == 3
    assert caught.value.retry_after_s == 1.0


@pytest.mark.parametrize("kind, error_class", list(base.error_classes().items()))
async def test_an_error_without_a_place_comes_before_the_first_event(
    kind: str, error_class: type[base.EngineError]
) -> None:
    with pytest.raises(error_class):
        await anext(aiter(StubEngine(CONFIG).stream(ask({"error": kind}))))


async def test_a_hang_yields_nothing_more_until_it_is_closed() -> None:
    engine = StubEngine(CONFIG)
    stream = engine.stream(ask({"text": "one two", "hang_at": 1}))
    assert [type(await anext(stream)) for _ in range(2)] == [Accepted, Delta]
    waiting = asyncio.ensure_future(anext(stream))
    assert await asyncio.wait([waiting], timeout=0.05) == (set(), {waiting})
    await engine.close()
    with pytest.raises(base.EngineClosedError):
        await waiting


@pytest.mark.parametrize(
    "script, named",
    [
        ({"txt": "typo"}, "txt"),
        ({"tokens": -1}, "tokens"),
        ({"text": 1}, "text"),
        ({"tool_call": {"name": "f", "args": {}}}, "args"),
        ({"error": "bad luck"}, "error"),
        ({"finish": "enough"}, "enough"),
    ],
)
async def test_mistakes_in_a_script_are_named(script: dict[str, Any], named: str) -> None:
    with pytest.raises(base.InvalidRequestError, match=named):
        await play(ask(script))


@pytest.mark.parametrize("fields", [{"constraint": Constraint("json_object")}, {"adapter": "a"}])
async def test_what_the_stub_lacks_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(base.UnsupportedError):
        await play(ask("hi", **fields))


async def test_a_prompt_over_the_context_window_is_refused_with_both_numbers() -> None:
    with pytest.raises(base.ContextLengthError, match="11 tokens.* 8 tokens"):
        await play(ask("word " * 9), context_window=8)


async def test_an_answer_ends_at_the_context_window() -> None:
    events = await play(ask({"tokens": 99}), context_window=20)
    assert isinstance(events[0], Accepted) and isinstance(events[-1], Delta) and events[-1].usage is not None
    assert events[0].prompt_tokens + events[-1].usage.completion_tokens == 20
    assert events[-1].finish_reason == "length"


async def test_delays_are_kept() -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    events = await deltas(ask({"tokens": 3, "first_delay_ms": 30, "delay_ms": 20}))
    assert loop.time() - began >= 0.069
    assert events[-1].timings is not None and events[-1].timings.prefill_s >= 0.029


async def test_closing_a_stream_frees_its_place() -> None:
    engine = StubEngine(CONFIG)
    stream = engine.stream(ask({"tokens": 100}))
    await anext(stream)
    assert (await engine.stats())["running"] == 1
    await stream.aclose()
    assert (await engine.stats())["running"] == 0


async def test_long_answers_without_delays_let_others_run() -> None:
    turns: list[int] = []
    asyncio.get_running_loop().call_soon(turns.append, 1)
    stream = StubEngine(CONFIG).stream(ask({"tokens": 40}))
    for _ in range(20):
        await anext(stream)
    assert turns


async def test_loading_reports_progress_and_can_be_scripted_to_fail() -> None:
    seen: list[float] = []
    await StubEngine(CONFIG).start(seen.append)
    assert seen == [0.25, 0.5, 0.75, 1.0]
    for options in ({"load_fail": "no such file"}, {"unknown": 1}):
        config = EngineConfig(engine="stub", model="m", alias="a", cache_dir="", options=options)
        with pytest.raises(base.ModelUnavailableError, match="no such file|unknown"):
            await StubEngine(config).start(seen.append)


async def test_a_closed_engine_refuses_and_tells_its_owner() -> None:
    engine = StubEngine(CONFIG)
    await engine.close()
    assert isinstance(await engine.wait_closed(), base.EngineClosedError)
    with pytest.raises(base.EngineClosedError):
        await anext(aiter(engine.stream(ask("hi"))))


async def test_embeddings_are_unsupported() -> None:
    with pytest.raises(base.UnsupportedError):
        await StubEngine(CONFIG).embed(["a"])


@given(st.text(alphabet=st.characters(codec="utf-8")))
def test_tokens_join_to_the_text_and_fit_their_ids(text: str) -> None:
    ids = [token_id(piece) for piece in split(text)]
    assert join(ids) == text
    assert all(0 < token < 1 << 49 for token in ids)


async def test_tokenize_and_detokenize_are_inverse() -> None:
    engine = StubEngine(CONFIG)
    pieces = await engine.tokenize("naïve 😀 words", add_special=True)
    assert b"".join(piece.raw for piece in pieces).decode() == "naïve 😀 words"
    assert await engine.detokenize([piece.id for piece in pieces]) == "naïve 😀 words"


@pytest.mark.parametrize("token", [-1, 0, 1, 255, 1 << 49, (1 << 56) + 1, 2 << 40])
def test_ids_that_no_token_has_are_refused(token: int) -> None:
    with pytest.raises(base.InvalidRequestError, match=str(token)):
        token_bytes(token)
