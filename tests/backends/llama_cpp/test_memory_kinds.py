"""Whatever a model remembers with, and whatever the cache holds, an answer is that of a cold evaluation.

llama.cpp would not say: it evaluates on from a state that is not that of the prompt, or from a window with holes.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from backends.llama_cpp.engine import LlamaCppEngine
from backends.types import GenerationRequest
from tests.backends.llama_cpp.cold import ColdModel
from tests.backends.llama_cpp.conftest import collect, complete, config, greedy
from tests.backends.llama_cpp.random_models import KINDS, WINDOW, Kind

pytestmark = pytest.mark.asyncio(loop_scope="package")

NEW = 16


def words(seed: object, count: int) -> list[int]:
    """Random ordinary tokens; equal seeds give equal ones."""
    chance = random.Random(str(seed))
    return [chance.randrange(10, 3000) for _ in range(count)]


def asking(prompt: Sequence[int], n: int = 1) -> GenerationRequest:
    request = greedy("", max_tokens=NEW, ignore_eos=True)
    return msgspec.structs.replace(request, prompt=None, token_ids=tuple(prompt), n=n)


async def ask(engine: LlamaCppEngine, prompt: Sequence[int]) -> list[int]:
    return (await complete(engine, asking(prompt))).token_ids


@pytest.fixture(scope="module", params=KINDS)
def model(request: pytest.FixtureRequest, random_model: Callable[[Kind], Path]) -> Path:
    return random_model(request.param)


@pytest.fixture(scope="module")
def cold(model: Path) -> Iterator[ColdModel]:
    with ColdModel(model) as cold:
        yield cold


@asynccontextmanager
async def serving(model: Path, **options: object) -> AsyncIterator[LlamaCppEngine]:
    """A fresh engine whose cache soon wraps around: 1,024 cells for prompts of up to 400 tokens."""
    exact = {"kv_cache_type": "f32", "flash_attn": "off"}
    engine = LlamaCppEngine(config(model, context_window=512, kv_cells=1024, **exact, **options))
    await engine.start(lambda _: None)
    try:
        yield engine
    finally:
        await engine.close()


@pytest_asyncio.fixture(loop_scope="package")
async def engine(model: Path) -> AsyncIterator[LlamaCppEngine]:
    async with serving(model) as engine:
        yield engine


def assert_cold(cold: ColdModel, prompt: Sequence[int], answer: Sequence[int]) -> None:
    expected = cold.answer(prompt, NEW)
    assert len(answer) == NEW
    assert list(answer[: len(expected)]) == expected


async def test_the_same_prompt_again_gets_the_same_answer(engine: LlamaCppEngine, cold: ColdModel) -> None:
    prompt = words("again", 3 * WINDOW)
    answers = [await ask(engine, prompt) for _ in range(3)]
    assert answers[0] == answers[1] == answers[2]
    assert_cold(cold, prompt, answers[0])


async def test_a_conversation_goes_on_from_what_was_said(engine: LlamaCppEngine, cold: ColdModel) -> None:
    said = words("begin", 2 * WINDOW)
    for turn in range(4):
        answer = await ask(engine, said)
        assert_cold(cold, said, answer)
        said += answer + words(turn, 30)


@pytest.mark.parametrize("shared", [1, WINDOW // 2, WINDOW, WINDOW + 1, 3 * WINDOW - 1, 3 * WINDOW])
async def test_a_prompt_that_begins_like_an_earlier_one(engine: LlamaCppEngine, cold: ColdModel, shared: int) -> None:
    earlier = words("earlier", 3 * WINDOW)
    await ask(engine, earlier)
    later = earlier[:shared] + words("later", 40)
    assert_cold(cold, later, await ask(engine, later))
    assert_cold(cold, earlier, await ask(engine, earlier))


async def test_a_prompt_that_begins_like_one_which_others_wrote_over(engine: LlamaCppEngine, cold: ColdModel) -> None:
    """Room for the fourth prompt is made at the end of the first; from there llama.cpp writes on over the second.

    It takes what has left the second's window, though there are free cells at the end of the cache.
    """
    prompts = [words(number, 1024 // 4 - NEW) for number in range(3)]
    for prompt in (*prompts, words("long", 400)):
        await ask(engine, prompt)
    for earlier in reversed(prompts):
        later = earlier[: 2 * WINDOW] + words("later", 40)
        assert_cold(cold, later, await ask(engine, later))


async def test_every_one_of_several_choices_is_that_of_a_cold_cache(engine: LlamaCppEngine, cold: ColdModel) -> None:
    prompt = words("choices", 200)
    for _ in range(2):
        for answer in await collect(engine, asking(prompt, n=3)):
            assert_cold(cold, prompt, answer.token_ids)


async def test_eight_at_once_with_a_common_beginning(engine: LlamaCppEngine, cold: ColdModel) -> None:
    beginning = words("common", 2 * WINDOW)
    prompts = [beginning + words(reader, 20 + reader) for reader in range(8)]
    for prompt, answer in zip(prompts, await asyncio.gather(*(ask(engine, prompt) for prompt in prompts)), strict=True):
        assert_cold(cold, prompt, answer)


async def test_answers_stay_right_after_many_left_early(engine: LlamaCppEngine, cold: ColdModel) -> None:
    chance = random.Random(1)
    beginning = words("left", 2 * WINDOW)

    async def leave(number: int) -> None:
        stream = engine.stream(asking(beginning[: chance.randrange(1, 2 * WINDOW)] + words(number, 100)))
        for _ in range(chance.randrange(1, 6)):
            await anext(stream)
        await stream.aclose()

    prompts = [beginning + words(stayer, 50) for stayer in "abc"]
    leavers = [asyncio.ensure_future(leave(number)) for number in range(30)]
    answers = [await ask(engine, prompt) for prompt in prompts]
    await asyncio.gather(*leavers)
    for prompt, answer in zip(prompts, answers, strict=True):
        assert_cold(cold, prompt, answer)
        assert_cold(cold, prompt, await ask(engine, prompt))
    stats = await engine.stats()
    assert (stats["running"], stats["waiting"], stats["kv_cells_reserved"]) == (0, 0, 0)


async def test_wrong_drafts_leave_no_trace(model: Path, cold: ColdModel) -> None:
    """The ends of these prompts have gone on in another way than the model does. A state cannot forget a draft."""
    prompts = [words(number, 150) + words(number, 100) for number in range(8)]
    async with serving(model, speculative="ngram") as engine:
        for _ in range(2):
            answers = await asyncio.gather(*(ask(engine, prompt) for prompt in prompts))
            for prompt, answer in zip(prompts, answers, strict=True):
                assert_cold(cold, prompt, answer)
        stats = await engine.stats()
    wrong = stats["tokens_drafted"] - stats["drafts_accepted"]
    assert bool(wrong) == (model.stem in ("plain", "sliding"))


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_was_said_before(engine: LlamaCppEngine, cold: ColdModel, seed: int) -> None:
    """Prompts that branch off from earlier ones anywhere, some at once, through a cache that cannot keep them all."""
    chance = random.Random(seed)
    said = [words(seed, 300)]
    for turn in range(12):
        prompts = []
        for branch in range(chance.choice((1, 1, 2, 4))):
            earlier = chance.choice(said[-6:])
            kept = earlier[: min(chance.randint(0, len(earlier) + 50), 350)]
            prompts.append(kept + words((seed, turn, branch), chance.randint(1, 50)))
        answers = await asyncio.gather(*(ask(engine, prompt) for prompt in prompts))
        for prompt, answer in zip(prompts, answers, strict=True):
            assert_cold(cold, prompt, answer)
            said.append(prompt + answer)
