"""The engine on the bundled model: what a request asks for is what its answer keeps to."""

from __future__ import annotations

import asyncio
import random

import llama_cpp
import msgspec
import pytest

from backends.base import ContextLengthError, InvalidRequestError, UnsupportedError
from backends.llama_cpp.engine import LlamaCppEngine
from backends.types import Accepted, Delta, GenerationRequest, SamplingParams, StopParams
from tests.backends.llama_cpp.conftest import BUNDLED_MODEL, chat, collect, complete, greedy
from tests.backends.test_gguf_backend import COMMON_STATS

pytestmark = pytest.mark.asyncio(loop_scope="package")

QUESTIONS = [
    "Hello!",
    "Who are you?",
    "What is the capital of France?",
    "What is 7 + 5?",
    "Write a Python function that adds two numbers.",
    "Is the sky blue? Answer yes or no.",
    "List three colours.",
    "My name is Ana. What is my name?",
]


def sampled(request: GenerationRequest, **params: object) -> GenerationRequest:
    return msgspec.structs.replace(request, sampling=msgspec.convert(params, SamplingParams))


async def assert_idle(engine: LlamaCppEngine) -> None:
    """Nothing runs or waits, and no cell is reserved, once aborts have had a step to take effect."""
    await complete(engine, greedy("x", max_tokens=1))
    stats = await engine.stats()
    assert stats.keys() >= COMMON_STATS
    assert (stats["running"], stats["waiting"], stats["kv_cells_reserved"]) == (0, 0, 0)


async def test_greedy_tokens_equal_those_of_llama_cpp_python(engine: LlamaCppEngine) -> None:
    reference = llama_cpp.Llama(str(BUNDLED_MODEL), n_ctx=2048, n_threads=1, flash_attn=True, verbose=False)
    for question in QUESTIONS:
        prompt = f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
        ids = reference.tokenize(prompt.encode(), add_bos=False, special=True)
        expected: list[int] = []
        reference.reset()
        for token in reference.generate(ids, temp=0.0, repeat_penalty=1.0):
            expected.append(token)
            if token == reference.token_eos() or len(expected) == 24:
                break
        assert (await complete(engine, greedy(prompt))).token_ids == expected
    reference.close()


async def test_eight_at_once_answer_as_each_does_alone(engine: LlamaCppEngine) -> None:
    alone = [await complete(engine, chat(question)) for question in QUESTIONS]
    together = await asyncio.gather(*(complete(engine, chat(question)) for question in QUESTIONS))
    assert [answer.text for answer in together] == [answer.text for answer in alone]


async def test_more_requests_than_sequences_wait_their_turn(engine: LlamaCppEngine) -> None:
    answers = await asyncio.gather(*(complete(engine, greedy("Hello", max_tokens=4)) for _ in range(30)))
    assert len({answer.text for answer in answers}) == 1


async def test_the_stream_begins_with_the_prompt_and_ends_with_the_usage(engine: LlamaCppEngine) -> None:
    events = [event async for event in engine.stream(greedy("one two", max_tokens=3, ignore_eos=True))]
    prompt_tokens = len(await engine.tokenize("one two"))
    assert events[0] == Accepted(prompt_tokens=prompt_tokens)
    last = events[-1]
    assert isinstance(last, Delta) and last.usage is not None and last.timings is not None
    assert (last.usage.prompt_tokens, last.usage.completion_tokens) == (prompt_tokens, 3)
    assert last.finish_reason == "length"


async def test_max_tokens_zero_evaluates_the_prompt_only(engine: LlamaCppEngine) -> None:
    answer = await complete(engine, greedy("one two", max_tokens=0))
    assert (answer.text, answer.finish_reason, answer.usage and answer.usage.completion_tokens) == ("", "length", 0)


async def test_a_stop_string_is_cut_wherever_its_tokens_end(engine: LlamaCppEngine) -> None:
    full = (await complete(engine, chat(QUESTIONS[4]))).text
    stop = full[7:12]
    cut = await complete(engine, chat(QUESTIONS[4], stopping=StopParams(max_tokens=48, stop=(stop,))))
    assert (cut.text, cut.finish_reason) == (full[: full.index(stop)], "stop")
    kept = await complete(
        engine, chat(QUESTIONS[4], stopping=StopParams(max_tokens=48, stop=(stop,), include_stop=True))
    )
    assert kept.text == full[: full.index(stop) + len(stop)]


async def test_a_stop_token_ends_the_answer(engine: LlamaCppEngine) -> None:
    free = await complete(engine, greedy("Hello", max_tokens=8, ignore_eos=True))
    third = free.token_ids[2]
    first_time = free.token_ids.index(third)
    answer = await complete(engine, greedy("Hello", max_tokens=8, ignore_eos=True, stop_token_ids=(third,)))
    assert (answer.token_ids, answer.finish_reason) == (free.token_ids[: first_time + 1], "stop")


async def test_ignore_eos_generates_all_that_was_asked_for(engine: LlamaCppEngine) -> None:
    answer = await complete(engine, chat("Hello!", stopping=StopParams(max_tokens=60, ignore_eos=True)))
    assert (len(answer.token_ids), answer.finish_reason) == (60, "length")


async def test_min_tokens_puts_off_the_end(engine: LlamaCppEngine) -> None:
    short = await complete(engine, chat("Hello!"))
    assert short.finish_reason == "stop"
    least = len(short.token_ids) + 5
    answer = await complete(engine, chat("Hello!", stopping=StopParams(max_tokens=60, min_tokens=least)))
    assert len(answer.token_ids) > least


async def test_a_bias_of_minus_100_bans_and_plus_100_forces(engine: LlamaCppEngine) -> None:
    free = await complete(engine, greedy("Hello", max_tokens=4, ignore_eos=True))
    banned = sampled(
        greedy("Hello", max_tokens=4, ignore_eos=True), temperature=0, logit_bias={free.token_ids[0]: -100}
    )
    assert free.token_ids[0] not in (await complete(engine, banned)).token_ids
    forced = sampled(greedy("Hello", max_tokens=4, ignore_eos=True), temperature=0, logit_bias={70: 100})
    assert (await complete(engine, forced)).token_ids == [70] * 4


async def test_a_frequency_penalty_ends_repetition(engine: LlamaCppEngine) -> None:
    request = greedy("Hello", max_tokens=40, ignore_eos=True)
    loop = sampled(request, temperature=0, logit_bias={70: 20.0})
    calm = sampled(request, temperature=0, logit_bias={70: 20.0}, frequency_penalty=2.0, presence_penalty=2.0)
    assert (await complete(engine, calm)).token_ids.count(70) < (await complete(engine, loop)).token_ids.count(70)


async def test_a_seed_repeats_and_its_absence_does_not(engine: LlamaCppEngine) -> None:
    request = greedy("Once", max_tokens=16, ignore_eos=True)
    seeded = [await complete(engine, sampled(request, temperature=2.0, seed=7)) for _ in range(2)]
    fresh = [await complete(engine, sampled(request, temperature=2.0)) for _ in range(3)]
    assert seeded[0].token_ids == seeded[1].token_ids
    assert len({tuple(answer.token_ids) for answer in fresh}) > 1


async def test_n_choices_come_from_one_prompt_and_differ(engine: LlamaCppEngine) -> None:
    request = sampled(greedy("Once", max_tokens=12, ignore_eos=True), temperature=2.0, seed=1)
    before = (await engine.stats())["prompt_tokens_evaluated"]
    answers = await collect(engine, msgspec.structs.replace(request, n=4))
    assert (await engine.stats())["prompt_tokens_evaluated"] - before == answers[0].usage.prompt_tokens  # type: ignore[union-attr]
    assert len({answer.text for answer in answers}) == 4
    assert answers[0].text == (await complete(engine, request)).text


async def test_narrow_sampling_is_greedy(engine: LlamaCppEngine) -> None:
    expected = (await complete(engine, greedy("Hello"))).token_ids
    for narrow in ({"top_k": 1}, {"top_p": 1e-6}, {"min_p": 1.0}, {"temperature": 1e-38}):
        request = sampled(greedy("Hello"), **{"temperature": 1.0, **narrow})
        assert (await complete(engine, request)).token_ids == expected


async def test_echo_puts_the_prompt_before_every_choice(engine: LlamaCppEngine) -> None:
    request = msgspec.structs.replace(greedy("Hello", max_tokens=4), echo=True, n=2)
    assert all(answer.text.startswith("Hello") for answer in await collect(engine, request))


async def test_token_ids_are_a_prompt_too(engine: LlamaCppEngine) -> None:
    ids = tuple(token.id for token in await engine.tokenize("Hello", add_special=True))
    as_ids = msgspec.structs.replace(greedy("Hello"), prompt=None, token_ids=ids)
    assert (await complete(engine, as_ids)).text == (await complete(engine, greedy("Hello"))).text


@pytest.mark.parametrize("ids", [(-1,), (10**6,), ()])
async def test_token_ids_that_the_model_does_not_have_are_refused(engine: LlamaCppEngine, ids: tuple[int, ...]) -> None:
    with pytest.raises(InvalidRequestError):
        await complete(engine, msgspec.structs.replace(greedy(""), prompt=None, token_ids=ids))


async def test_parameters_name_only_tokens_that_the_model_has(engine: LlamaCppEngine) -> None:
    """An id out of range is an address out of range: with `min_tokens` it would be written to."""
    for token in (engine.info.vocab_size, 2**31 - 1):
        stopping = greedy("Hello", min_tokens=2, stop_token_ids=[token])
        for request, param in ((stopping, "stop_token_ids"), (sampled(stopping, logit_bias={token: 1}), "logit_bias")):
            with pytest.raises(InvalidRequestError, match=str(token)) as caught:
                await complete(engine, request)
            assert caught.value.param == param


async def test_a_prompt_longer_than_the_window_names_both_numbers(engine: LlamaCppEngine) -> None:
    with pytest.raises(ContextLengthError, match=rf"\d+ tokens.*{engine.info.context_window}"):
        await complete(engine, greedy("one two three " * 1000))


@pytest.mark.parametrize("letter", ["a", " ", "7", "!", "é"])
async def test_a_megabyte_of_one_character_is_refused_unharmed(engine: LlamaCppEngine, letter: str) -> None:
    with pytest.raises(ContextLengthError):
        await complete(engine, chat(letter * 1_000_000))
    assert (await complete(engine, greedy("Hello", max_tokens=1))).finish_reason


async def test_what_the_engine_lacks_is_refused_by_name(engine: LlamaCppEngine) -> None:
    for changes, param in (
        ({"adapter": "x"}, "model"),
        ({"n": 9}, "n"),
    ):
        with pytest.raises(InvalidRequestError) as caught:
            await complete(engine, msgspec.structs.replace(greedy("x"), **changes))
        assert caught.value.param == param
    assert "JARVIS_N_PARALLEL" in caught.value.message
    with pytest.raises(UnsupportedError):
        await engine.embed(["x"])


async def test_text_survives_tokenising_and_back(engine: LlamaCppEngine) -> None:
    text = "Grüße, 世界 👋🏽 \n\t def f(x): return x**2 <|im_end|>"
    pieces = await engine.tokenize(text)
    assert b"".join(piece.raw for piece in pieces).decode() == text
    assert await engine.detokenize([piece.id for piece in pieces]) == text


async def test_others_are_served_while_a_long_text_is_tokenised(engine: LlamaCppEngine) -> None:
    long = asyncio.ensure_future(engine.tokenize("many words " * 100_000))
    assert (await complete(engine, greedy("Hello", max_tokens=1))).finish_reason
    assert not long.done()
    assert len(await long) > 100_000


async def test_conversations_that_cannot_fit_are_refused_before_they_are_tokenised(engine: LlamaCppEngine) -> None:
    texts = ["x" * engine.info.context_window] * 1001
    with pytest.raises(ContextLengthError, match="characters") as caught:
        await complete(engine, chat(*texts))
    assert caught.value.param == "messages"


async def test_closing_the_iterator_frees_the_sequence(engine: LlamaCppEngine) -> None:
    stream = engine.stream(greedy("Hello", max_tokens=2000, ignore_eos=True))
    async for event in stream:
        if isinstance(event, Delta):
            break
    await stream.aclose()
    await assert_idle(engine)


async def test_random_aborts_leave_nothing_behind_and_answers_right(engine: LlamaCppEngine) -> None:
    expected = (await complete(engine, chat(QUESTIONS[2]))).text
    chance = random.Random(5)

    async def abandoned() -> None:
        task = asyncio.ensure_future(complete(engine, chat(chance.choice(QUESTIONS))))
        await asyncio.sleep(chance.random() * 0.05)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    for _ in range(5):
        leavers = [asyncio.ensure_future(abandoned()) for _ in range(20)]
        assert (await complete(engine, chat(QUESTIONS[2]))).text == expected
        await asyncio.gather(*leavers)
    await assert_idle(engine)


async def test_a_long_prompt_is_evaluated_in_pieces_beside_a_stream(engine: LlamaCppEngine) -> None:
    long = chat(*["What is the capital of France?", "The capital of France is Paris."] * 24, "Who are you?")
    alone = await complete(engine, long)
    busy = [chat(question, stopping=StopParams(max_tokens=80, ignore_eos=True)) for question in QUESTIONS[:3]]
    answers = await asyncio.gather(*(complete(engine, request) for request in [*busy, long]))
    assert answers[-1].text == alone.text
    assert alone.usage is not None
    assert alone.usage.prompt_tokens > 512  # more than one batch
