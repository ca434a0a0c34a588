"""Whose word counts: the request's, then the model's, then the API's."""

from __future__ import annotations

import pytest

from backends.base import ModelUnavailableError
from backends.llama_cpp.sampling import resolve, sampling_defaults
from backends.types import SamplingParams


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
