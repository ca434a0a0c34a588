"""Log-probabilities of the engine against what llama.cpp computes in process, for prompts and for answers."""

from __future__ import annotations

import llama_cpp
import msgspec
import numpy as np
import pytest

from backends.llama_cpp.composing import SCORED_AT_ONCE
from backends.llama_cpp.engine import LlamaCppEngine
from backends.types import Delta, GenerationRequest, SamplingParams, TokenLogprob
from tests.backends.llama_cpp.conftest import BUNDLED_MODEL, complete, greedy

pytestmark = pytest.mark.asyncio(loop_scope="package")

TEXT = (
    "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\nThe capital of France is Paris."
)


async def scored(engine: LlamaCppEngine, request: GenerationRequest) -> list[TokenLogprob]:
    """The entries of a request's only choice, in order."""
    return [entry async for event in engine.stream(request) if isinstance(event, Delta) for entry in event.logprobs]


def in_process(tokens: list[int], n_batch: int) -> np.ndarray:
    """Log-probabilities (tokens × vocabulary) of what follows each token, by the package's own class."""
    model = llama_cpp.Llama(
        str(BUNDLED_MODEL), n_ctx=2048, n_batch=n_batch, n_threads=1, logits_all=True, flash_attn=True, verbose=False
    )
    model.eval(tokens)
    logits = np.asarray(model.scores[: len(tokens)], np.float64)
    model.close()
    highest = logits.max(axis=1, keepdims=True)
    scores: np.ndarray = logits - highest - np.log(np.exp(logits - highest).sum(axis=1, keepdims=True))
    return scores


@pytest.mark.parametrize(("n_batch", "tolerance"), [(SCORED_AT_ONCE, 1e-4), (512, 2e-2), (7, 2e-2)])
async def test_an_echoed_prompt_is_scored_as_in_process(engine: LlamaCppEngine, n_batch: int, tolerance: float) -> None:
    request = msgspec.structs.replace(greedy(TEXT, max_tokens=0), echo=True, logprobs=3, prompt_logprobs=3)
    await complete(engine, greedy(TEXT))  # what is cached must not stand in for logits
    first, *entries = await scored(engine, request)
    assert first.logprob is None
    tokens = [first.token_id, *(entry.token_id for entry in entries)]
    expected = in_process(tokens, n_batch)
    for at, entry in enumerate(entries):
        assert entry.logprob == pytest.approx(expected[at, entry.token_id], abs=tolerance)
        assert [logprob for _, logprob, _ in entry.top] == pytest.approx(
            sorted(expected[at], reverse=True)[:3], abs=tolerance
        )


async def test_a_long_prompt_is_scored_in_chunks_without_a_gap(engine: LlamaCppEngine) -> None:
    long = TEXT * 30
    request = msgspec.structs.replace(greedy(long, max_tokens=0), echo=True, prompt_logprobs=0)
    entries = await scored(engine, request)
    tokens = [entry.token_id for entry in entries]
    assert len(tokens) > 512
    assert b"".join(entry.raw for entry in entries).decode() == long
    expected = in_process(tokens, SCORED_AT_ONCE)
    differences = [abs((entry.logprob or 0.0) - expected[at, entry.token_id]) for at, entry in enumerate(entries[1:])]
    assert max(differences) < 1e-4


async def test_the_tokens_of_an_answer_are_scored_with_their_alternatives(engine: LlamaCppEngine) -> None:
    request = msgspec.structs.replace(greedy(TEXT[:70], max_tokens=8), logprobs=20)
    entries = await scored(engine, request)
    answer = await complete(engine, greedy(TEXT[:70], max_tokens=8))
    assert [entry.token_id for entry in entries] == answer.token_ids
    for entry in entries:
        assert len(entry.top) == 20
        assert entry.top[0][:2] == (entry.token_id, entry.logprob), "greedy takes the most probable"


async def test_scores_are_the_models_own_whatever_is_sampled(engine: LlamaCppEngine) -> None:
    plain = msgspec.structs.replace(greedy(TEXT[:70], max_tokens=1), logprobs=5)
    bent = msgspec.structs.replace(
        plain, sampling=SamplingParams(temperature=2.0, seed=1, logit_bias={70: 50.0}, presence_penalty=1.0)
    )
    (expected,), (entry,) = await scored(engine, plain), await scored(engine, bent)
    assert entry.token_id == 70
    assert entry.top == expected.top and entry.logprob is not None and entry.logprob < expected.top[-1][1]


async def test_choices_that_begin_from_one_row_see_the_same_alternatives(engine: LlamaCppEngine) -> None:
    request = msgspec.structs.replace(greedy(TEXT[:70], max_tokens=1, min_tokens=1), logprobs=4, n=3)
    tops = [entry.top for entry in await scored(engine, request)]
    assert len(tops) == 3 and tops[0] == tops[1] == tops[2]
