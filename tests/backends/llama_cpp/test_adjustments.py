"""Biases and penalties, against what they are said to do, token by token."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from backends.llama_cpp.adjustments import Bias, Penalties
from backends.types import SamplingParams
from tests.backends.llama_cpp.slow_sampling import adjusted

SIZE = 12
TOKENS = st.lists(st.integers(0, SIZE - 1), max_size=30)
EIGHTHS = st.integers(-40, 40).map(lambda eighths: eighths / 8)
"""Numbers whose sums and products are exact in single precision."""


def row(values: list[float]) -> np.ndarray:
    return np.array(values, np.float32)


@given(
    logits=st.lists(EIGHTHS | st.just(-np.inf), min_size=SIZE, max_size=SIZE),
    params=st.builds(
        SamplingParams,
        logit_bias=st.dictionaries(st.integers(0, SIZE - 1), EIGHTHS | st.just(-100.0)),
        repetition_penalty=st.sampled_from([None, 0.5, 1.0, 2.0]),
        presence_penalty=EIGHTHS,
        frequency_penalty=EIGHTHS,
    ),
    prompt=TOKENS,
    answer=TOKENS,
    banned=st.sets(st.integers(0, SIZE - 1), max_size=3),
)
def test_a_row_after_some_tokens_is_what_is_said_of_each_of_its_tokens(
    logits: list[float], params: SamplingParams, prompt: list[int], answer: list[int], banned: set[int]
) -> None:
    changed, penalties = row(logits), Penalties(params)
    penalties.see(prompt)
    for token in answer:
        penalties.accept(token)
    Bias(params.logit_bias, banned).apply(changed)
    penalties.apply(changed)
    assert changed.tolist() == adjusted(row(logits), params, prompt=prompt, answer=answer, banned=banned).tolist()


def test_penalties_remember_more_tokens_than_they_began_with_room_for() -> None:
    penalties = Penalties(SamplingParams(presence_penalty=1.0))
    for token in [*range(500), *range(500)]:
        penalties.accept(token)
    logits = np.zeros(501, np.float32)
    penalties.apply(logits)
    assert logits.tolist() == [-1.0] * 500 + [0.0]


def test_what_changes_nothing_is_false() -> None:
    assert not Bias({}) and not Penalties(SamplingParams()) and not Penalties(SamplingParams(repetition_penalty=1.0))
    assert Bias({}, [3]) and Bias({3: 1.0})
    assert Penalties(SamplingParams(presence_penalty=0.5)) and Penalties(SamplingParams(repetition_penalty=1.1))
