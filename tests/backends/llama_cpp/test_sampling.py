"""Whose word counts (the request's, then the model's, then the API's), and that draws follow it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from backends.base import EngineError, ModelUnavailableError
from backends.llama_cpp.sampling import Sampler, Scratch
from backends.sampling_defaults import resolve, sampling_defaults
from backends.types import SamplingParams
from tests.backends.llama_cpp.slow_sampling import adjusted, distribution

SIZE = 12
DRAWS = 1000
EIGHTHS = st.integers(-40, 40).map(lambda eighths: eighths / 8)
"""Numbers whose sums and products are exact in single precision, so that equals stay equals."""
PARAMS = st.builds(
    SamplingParams,
    temperature=st.sampled_from([0.0, 1e-6, 1e-5, 0.3, 1.0, 1.7]),
    min_p=st.none() | st.floats(0.001, 1.0),
    top_k=st.sampled_from([None, -1, 0, 1, 3, 100]),
    typical_p=st.none() | st.floats(0.05, 1.0),
    top_p=st.none() | st.floats(0.05, 1.0),
    seed=st.integers(-(2**63), 2**63 - 1),
    logit_bias=st.dictionaries(st.integers(0, SIZE - 1), EIGHTHS | st.just(-100.0), max_size=3),
)

LIMITS: list[dict[str, Any]] = [
    {},
    {"temperature": 0.7},
    {"temperature": 3.0, "top_p": 0.9},
    {"top_p": 0.95},
    {"top_k": 40},
    {"min_p": 0.02},
    {"typical_p": 0.9},
    {"temperature": 1.5, "min_p": 0.001, "top_k": 500, "typical_p": 0.95, "top_p": 0.9},
]


def test_a_silent_model_and_request_get_the_defaults_of_the_api() -> None:
    resolved = resolve(SamplingParams(), sampling_defaults({}))
    assert (resolved.temperature, resolved.top_p, resolved.top_k, resolved.min_p) == (1.0, 1.0, 0, 0.0)
    assert (resolved.repetition_penalty, resolved.typical_p) == (1.0, 1.0)


def test_the_request_wins_over_the_model_also_with_zero() -> None:
    model = sampling_defaults({"general.sampling.temp": "0.6", "general.sampling.top_k": "20"})
    resolved = resolve(SamplingParams(temperature=0.0), model)
    assert (resolved.temperature, resolved.top_k, resolved.top_p) == (0.0, 20, 1.0)


@pytest.mark.parametrize("value", ["warm", "[1, 2]", ""])
def test_a_model_whose_default_is_not_a_number_says_which(value: str) -> None:
    with pytest.raises(ModelUnavailableError, match=r"general\.sampling\.top_p"):
        sampling_defaults({"general.sampling.top_p": value})


def test_a_seed_stays_absent() -> None:
    assert resolve(SamplingParams(), sampling_defaults({})).seed is None


def row(*values: float) -> NDArray[np.float32]:
    return np.array(values, np.float32)


def peaked(size: int) -> NDArray[np.float32]:
    """Logits as a model gives them: many of little weight, and a few that have most of it."""
    rng = np.random.default_rng(size)
    logits = rng.standard_normal(size) * 2
    logits[rng.choice(size, 20, replace=False)] += rng.uniform(3, 12, 20)
    return logits.astype(np.float32)


def sampler(size: int = SIZE, choice: int = 0, scratch: Scratch | None = None, **params: Any) -> Sampler:
    """A sampler of its own scratch, unless one is given."""
    given = resolve(SamplingParams(**params), sampling_defaults({}))
    return Sampler(given, scratch or Scratch(size), choice=choice)


def assert_drawn_from(tokens: NDArray[np.intp], probabilities: NDArray[np.float64]) -> None:
    """Only what is possible, all that is to be expected, and as often: by chi-square, once in 10^6 by chance."""
    counts = np.bincount(tokens, minlength=probabilities.size)
    expected = probabilities * tokens.size
    assert not counts[probabilities == 0].any()
    assert counts[expected > 30].all()
    often = expected >= 5
    observed = np.append(counts[often], counts[~often].sum())
    wanted = np.append(expected[often], expected[~often].sum())
    distance = ((observed - wanted) ** 2 / np.maximum(wanted, 1)).sum()
    freedom = int(often.sum())
    assert distance < freedom + 5 * (2 * freedom) ** 0.5 + 25


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    logits=st.lists(EIGHTHS | st.sampled_from([-np.inf, np.nan]), min_size=SIZE, max_size=SIZE),
    params=PARAMS,
    banned=st.sets(st.integers(0, SIZE - 1), max_size=2),
)
def test_draws_follow_the_distribution_of_a_slow_computation(
    logits: list[float], params: SamplingParams, banned: set[int]
) -> None:
    scores = adjusted(row(*logits), params, banned=banned)
    assume(np.isfinite(scores.max()))
    expected = distribution(scores, resolve(params, sampling_defaults({})))
    assume(expected.margin > 1e-5)
    drawing = Sampler(resolve(params, sampling_defaults({})), Scratch(SIZE), choice=0, banned=banned)
    tokens = np.array([drawing.sample(row(*logits)) for _ in range(DRAWS)])
    assert_drawn_from(tokens, expected.probabilities)


@pytest.mark.parametrize("size", [2047, 32_000])
@pytest.mark.parametrize("params", LIMITS)
def test_draws_from_a_large_vocabulary_follow_the_distribution(size: int, params: dict[str, Any]) -> None:
    logits = peaked(size)
    expected = distribution(logits.astype(np.float64), SamplingParams(**{"temperature": 1.0, **params}))
    drawing = sampler(size, seed=5, **params)
    tokens = np.array([drawing.sample(logits) for _ in range(2000)])
    assert_drawn_from(tokens, expected.probabilities)


@given(
    logits=st.lists(EIGHTHS, min_size=SIZE, max_size=SIZE),
    prompt=st.lists(st.integers(0, SIZE - 1), max_size=20),
    penalties=st.tuples(st.sampled_from([1.0, 0.5, 2.0]), EIGHTHS, EIGHTHS),
)
def test_penalties_count_every_token_that_was_drawn(
    logits: list[float], prompt: list[int], penalties: tuple[float, float, float]
) -> None:
    repetition, presence, frequency = penalties
    params = SamplingParams(
        temperature=0.0, repetition_penalty=repetition, presence_penalty=presence, frequency_penalty=frequency
    )
    drawing = Sampler(params, Scratch(SIZE), choice=0)
    answer: list[int] = []
    drawing.see(prompt)
    for _ in range(10):
        scores = adjusted(row(*logits), params, prompt=prompt, answer=answer)
        answer.append(drawing.sample(row(*logits)))
        assert answer[-1] == int(scores.argmax())


@pytest.mark.parametrize("params", [{"temperature": 0.0}, {}, {"top_p": 0.9, "presence_penalty": 1.0, "min_p": 0.01}])
def test_the_row_stays_as_it_is(params: dict[str, Any]) -> None:
    logits = peaked(5000)
    before = logits.copy()
    logits.flags.writeable = False
    drawing = sampler(5000, logit_bias={3: 7.0, 4: -100.0}, **params)
    for _ in range(3):
        drawing.sample(logits)
    assert logits.tolist() == before.tolist()


def test_the_arg_max_is_the_lowest_of_equals() -> None:
    assert sampler(4, temperature=0.0).sample(row(1, 3, 3, 2)) == 1
    assert sampler(4, temperature=1e-6).sample(row(1, 3, 3, 2)) == 1
    assert sampler(4, temperature=0.0, logit_bias={3: 1.5}).sample(row(1, 3, 3, 2)) == 3


@pytest.mark.parametrize("temperature", [0.0, 1e-5, 1.0, 100.0])
def test_numbers_that_are_none_are_never_drawn(temperature: float) -> None:
    drawing = sampler(4, temperature=temperature, seed=1)
    assert {drawing.sample(row(np.nan, 1, -np.inf, 1)) for _ in range(100)} <= {1, 3}
    assert {drawing.sample(row(np.nan, 5, np.inf, 1)) for _ in range(20)} == {2}
    assert {drawing.sample(row(-3.4e38, -np.inf, 3.4e38, np.nan)) for _ in range(20)} == {2}


@pytest.mark.parametrize("params", [{"temperature": 0.0}, {}, {"top_k": 2}, {"typical_p": 0.5, "top_p": 0.5}])
@pytest.mark.parametrize("nothing", [-np.inf, np.nan])
def test_a_row_without_anything_possible_is_an_error(params: dict[str, Any], nothing: float) -> None:
    with pytest.raises(EngineError, match="no token can come next"):
        sampler(5, **params).sample(row(*[nothing] * 5))
    with pytest.raises(EngineError, match="forbids every token"):
        sampler(2, logit_bias={0: -100.0, 1: -100.0}, **params).sample(row(1, 2))


def test_a_banned_token_stays_impossible_whatever_its_bias() -> None:
    params = resolve(SamplingParams(temperature=0.0, logit_bias={1: 99.0}), sampling_defaults({}))
    assert Sampler(params, Scratch(3), choice=0, banned=[1]).sample(row(1, 2, 0)) == 0


def drawn(drawing: Sampler, logits: NDArray[np.float32], count: int = 30) -> list[int]:
    return [drawing.sample(logits) for _ in range(count)]


@pytest.mark.parametrize("params", LIMITS)
def test_a_seed_repeats_and_choices_and_seeds_differ(params: dict[str, Any]) -> None:
    logits = row(*[0.0] * 500)
    first = drawn(sampler(500, seed=7, **params), logits)
    assert drawn(sampler(500, seed=7, **params), logits) == first
    assert drawn(sampler(500, seed=6, choice=1, **params), logits) == first
    assert drawn(sampler(500, seed=7, choice=1, **params), logits) != first
    assert drawn(sampler(500, seed=-7, **params), logits) != first


def test_without_a_seed_every_sampler_draws_otherwise() -> None:
    assert drawn(sampler(500), row(*[0.0] * 500)) != drawn(sampler(500), row(*[0.0] * 500))


def test_samplers_that_share_a_scratch_draw_as_if_alone() -> None:
    logits, settings = peaked(3000), [*LIMITS, {"temperature": 0.0}, {"presence_penalty": 1.0}]
    alone = [drawn(sampler(3000, seed=3, **params), logits) for params in settings]
    shared = Scratch(3000)
    drawing = [sampler(scratch=shared, seed=3, **params) for params in settings]
    turns = [[each.sample(logits) for each in drawing] for _ in range(30)]
    assert [list(tokens) for tokens in zip(*turns, strict=True)] == alone
