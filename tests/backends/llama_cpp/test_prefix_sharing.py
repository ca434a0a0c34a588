"""The prefix cache on a real model: what is not evaluated again, and answers that are those of a cold cache."""

from __future__ import annotations

import asyncio
import random

import msgspec
import pytest

from backends.llama_cpp.engine import LlamaCppEngine
from backends.types import PRIORITY_SPECULATIVE, Accepted, GenerationRequest, StopParams
from tests.backends.llama_cpp.conftest import chat, collect, complete, config, greedy

pytestmark = pytest.mark.asyncio(loop_scope="package")

SYSTEM = "You are a helpful assistant. " * 20
QUESTIONS = ["Hello!", "Who are you?", "What is 7 + 5?", "List three colours.", "Is the sky blue?", "Tell me a joke."]


def asked(question: str, **changes: object) -> GenerationRequest:
    return chat(SYSTEM, "Yes.", question, **changes)


async def cached_tokens(engine: LlamaCppEngine, request: GenerationRequest) -> int:
    answer = await complete(engine, request)
    assert answer.usage is not None
    return answer.usage.cached_tokens


async def fresh() -> LlamaCppEngine:
    engine = LlamaCppEngine(config())
    await engine.start(lambda _: None)
    return engine


async def cold_answers(requests: list[GenerationRequest]) -> list[str]:
    """What an engine without a cache answers, one request at a time."""
    engine = LlamaCppEngine(config(prefix_cache_tokens=0))
    await engine.start(lambda _: None)
    answers = [(await complete(engine, request)).text for request in requests]
    assert (await engine.stats())["prompt_tokens_cached"] == 0
    await engine.close()
    return answers


async def test_answers_equal_those_of_a_cold_cache_whoever_came_before() -> None:
    requests = [asked(question) for question in QUESTIONS]
    expected = await cold_answers(requests)
    engine = await fresh()
    order = random.Random(3)
    for _ in range(3):
        shuffled = order.sample(list(zip(requests, expected, strict=True)), len(requests))
        answers = await asyncio.gather(*(complete(engine, request) for request, _ in shuffled))
        assert [answer.text for answer in answers] == [text for _, text in shuffled]
    assert (await engine.stats())["prompt_tokens_cached"] > 0
    await engine.close()


async def test_eight_with_a_common_beginning_evaluate_it_once() -> None:
    engine = await fresh()
    answers = await asyncio.gather(*(complete(engine, asked(f"What is {i} + 2?")) for i in range(8)))
    prompt = sum(answer.usage.prompt_tokens for answer in answers if answer.usage)
    longest = max(answer.usage.prompt_tokens for answer in answers if answer.usage)
    evaluated = (await engine.stats())["prompt_tokens_evaluated"]
    assert evaluated < longest + 8 * 16 < prompt / 3
    assert sum(answer.usage.cached_tokens for answer in answers if answer.usage) == prompt - evaluated
    await engine.close()


async def test_a_conversation_that_goes_on_evaluates_what_is_new(engine: LlamaCppEngine) -> None:
    first = await complete(engine, chat("My name is Ana."))
    assert first.usage is not None
    second = chat("My name is Ana.", first.text, "What is my name?")
    cached = await cached_tokens(engine, second)
    assert cached >= first.usage.prompt_tokens + first.usage.completion_tokens - 1


async def test_the_first_event_says_what_is_cached(engine: LlamaCppEngine) -> None:
    await complete(engine, asked("Hello!"))
    events = [event async for event in engine.stream(asked("Hello!", stopping=StopParams(max_tokens=1)))]
    assert isinstance(events[0], Accepted)
    assert events[0].cached_tokens == events[0].prompt_tokens - 1


async def test_a_salt_hides_what_others_asked(engine: LlamaCppEngine) -> None:
    request = greedy("a text that only this test sends, with a salt of its own")
    await complete(engine, msgspec.structs.replace(request, cache_salt="ana"))
    assert await cached_tokens(engine, msgspec.structs.replace(request, cache_salt="ben")) == 0
    assert await cached_tokens(engine, msgspec.structs.replace(request, cache_salt="ana")) > 0


async def test_evaluating_ahead_is_what_the_request_then_saves(engine: LlamaCppEngine) -> None:
    text = "somebody types this text ahead of time and sends it a little late"
    typed = msgspec.structs.replace(greedy(text[:40], max_tokens=0), priority=PRIORITY_SPECULATIVE)
    answer = await complete(engine, typed)
    assert answer.usage is not None
    whole = [token.id for token in await engine.tokenize(text)]
    ahead = [token.id for token in await engine.tokenize(text[:40])]
    assert answer.usage.prompt_tokens == len(ahead) - 1, "the last token may still become another one"
    assert whole[: len(ahead) - 1] == ahead[:-1]
    assert await cached_tokens(engine, greedy(text)) == len(ahead) - 1


async def test_a_small_cache_keeps_the_beginning_of_what_was_used_last() -> None:
    engine = LlamaCppEngine(config(prefix_cache_tokens=64))
    await engine.start(lambda _: None)
    await complete(engine, asked("Hello!"))
    assert (await engine.stats())["kv_cells_cached"] == 64
    assert await cached_tokens(engine, asked("Who are you?")) == 64
    await engine.close()


async def test_a_conversation_that_left_the_cells_comes_back_as_it_was() -> None:
    long = [chat(f"I am {name}. {SYSTEM * 4}", "Yes.", "Who are you?") for name in ("Ana", "Ben", "Cleo")]
    expected = await cold_answers(long)
    engine = LlamaCppEngine(config(kv_cells=2048, n_parallel=2))
    await engine.start(lambda _: None)
    for _ in range(3):
        for request, text in zip(long, expected, strict=True):
            assert (await complete(engine, request)).text == text
    stats = await engine.stats()
    assert stats["prefix_tokens_stored"] > 0
    assert stats["prompt_tokens_cached"] > stats["prompt_tokens_evaluated"]
    await engine.close()


async def test_random_aborts_under_load_leave_a_cache_that_is_right() -> None:
    requests = [asked(question) for question in QUESTIONS]
    expected = await cold_answers(requests)
    engine = LlamaCppEngine(config(n_parallel=4, kv_cells=2048))
    await engine.start(lambda _: None)
    chance = random.Random(11)

    async def leave(request: GenerationRequest) -> None:
        task = asyncio.ensure_future(collect(engine, request))
        await asyncio.sleep(chance.random() * 0.02)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    for _ in range(10):
        leavers = [
            asyncio.ensure_future(leave(asked(chance.choice(QUESTIONS), n=chance.randint(1, 3)))) for _ in range(50)
        ]
        at = chance.randrange(len(requests))
        assert (await complete(engine, requests[at])).text == expected[at]
        await asyncio.gather(*leavers)
    assert [(await complete(engine, request)).text for request in requests] == expected
    stats = await engine.stats()
    assert (stats["running"], stats["waiting"], stats["kv_cells_reserved"]) == (0, 0, 0)
    await engine.close()


@pytest.mark.parametrize("repetitive", [True, False])
async def test_drafts_change_no_greedy_answer(repetitive: bool) -> None:
    texts = ["one two three four five " * 8, "abc abc abc abc"] if repetitive else ["Once upon a time", "def add("]
    requests = [greedy(text, max_tokens=60, ignore_eos=True) for text in texts] + [asked(q) for q in QUESTIONS]
    expected = await cold_answers(requests)
    engine = LlamaCppEngine(config(speculative="ngram"))
    await engine.start(lambda _: None)
    assert [(await complete(engine, request)).text for request in requests] == expected
    # The others are no texts that the model knows: their next tokens may be so close that the shape of a batch decides.
    together = await asyncio.gather(*(complete(engine, request) for request in requests[2:]))
    assert [answer.text for answer in together] == expected[2:]
    assert (await engine.stats())["drafts_accepted"] > 0 or not repetitive
    await engine.close()


async def test_drafts_fit_the_smallest_batch_and_let_prompts_through() -> None:
    engine = LlamaCppEngine(config(speculative="ngram", n_batch=16, n_parallel=4))
    await engine.start(lambda _: None)
    loops = [greedy("one two three four five " * 8, max_tokens=200, ignore_eos=True) for _ in range(3)]
    streams = [asyncio.ensure_future(complete(engine, request)) for request in loops]
    assert (await complete(engine, asked("Hello!"))).finish_reason
    await asyncio.gather(*streams)
    await engine.close()
