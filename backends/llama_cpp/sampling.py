"""A request's sampling parameters as a llama.cpp sampler chain.

Order, the same as vLLM's so that both engines mean the same by a request: logit bias, penalties, temperature, min-p,
top-k, typical-p, top-p, then the draw. Temperature 0 (or next to it) is the arg-max after bias and penalties.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import llama_cpp
import msgspec
import numpy as np
from numpy.typing import NDArray

from backends.base import ModelUnavailableError
from backends.llama_cpp.vocab import Vocabulary
from backends.types import SamplingParams

_RANDOM_SEED = 0xFFFFFFFF  # llama.cpp's LLAMA_DEFAULT_SEED: draw a seed from the clock
_COLDEST = 1e-5  # dividing by less overflows; vLLM, too, takes the arg-max below it
_LOOK_BACK = 32_768  # tokens that a penalty remembers; llama.cpp reserves them up front, 4 bytes each
_MODEL_KEYS = {
    "general.sampling.temp": ("temperature", float),
    "general.sampling.top_k": ("top_k", int),
    "general.sampling.top_p": ("top_p", float),
    "general.sampling.min_p": ("min_p", float),
    "general.sampling.penalty_repeat": ("repetition_penalty", float),
}
_API_DEFAULTS = SamplingParams(temperature=1.0, top_k=0, top_p=1.0, min_p=0.0, typical_p=1.0, repetition_penalty=1.0)


def sampling_defaults(metadata: Mapping[str, str]) -> SamplingParams:
    """What holds where a request is silent: the model's own `general.sampling.*` keys, else OpenAI's defaults.

    Raises:
        ModelUnavailableError: one of the keys is not a number.
    """
    given: dict[str, Any] = {}
    for key, (field, convert) in _MODEL_KEYS.items():
        if key in metadata:
            try:
                given[field] = convert(metadata[key])
            except ValueError:
                raise ModelUnavailableError(f"the model's {key} is {metadata[key][:50]!r}, not a number") from None
    return msgspec.structs.replace(_API_DEFAULTS, **given)


def resolve(params: SamplingParams, defaults: SamplingParams) -> SamplingParams:
    """The request's parameters with its gaps filled from `defaults`."""
    gaps = {
        field: getattr(defaults, field) for field in SamplingParams.__struct_fields__ if getattr(params, field) is None
    }
    return msgspec.structs.replace(params, **gaps)


class Sampler:
    """Draws one choice's tokens. Owns native memory: `close` it."""

    def __init__(self, params: SamplingParams, vocab: Vocabulary, *, choice: int, banned: Iterable[int] = ()) -> None:
        """`params` must be resolved; choice i of a request draws with seed + i; `banned` ids never come."""
        self._chain: Any = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
        self._repetition: Any = None
        self._add_bias(params, vocab, banned)
        self._add_penalties(params, vocab)
        for sampler in _draw(params, choice):
            llama_cpp.llama_sampler_chain_add(self._chain, sampler)

    def see(self, prompt: Sequence[int]) -> None:
        """Let the repetition penalty, the only one that looks at the prompt, count the prompt's tokens."""
        if self._repetition is not None:
            for token in prompt:
                llama_cpp.llama_sampler_accept(self._repetition, token)

    def sample(self, context: Any, row: int) -> int:
        """Draw from the logits of batch row `row` and remember the token for the penalties."""
        return int(llama_cpp.llama_sampler_sample(self._chain, context, row))

    def close(self) -> None:
        """Free the native chain; harmless when called twice."""
        if self._chain is not None:
            llama_cpp.llama_sampler_free(self._chain)
            self._chain = self._repetition = None

    def _add_bias(self, params: SamplingParams, vocab: Vocabulary, banned: Iterable[int]) -> None:
        bias = {token: value if value > -100 else float("-inf") for token, value in params.logit_bias.items()}
        bias.update(dict.fromkeys(banned, float("-inf")))
        if bias:
            entries = (llama_cpp.llama_logit_bias * len(bias))(*bias.items())
            self._add(llama_cpp.llama_sampler_init_logit_bias(vocab.size, len(bias), entries))

    def _add_penalties(self, params: SamplingParams, vocab: Vocabulary) -> None:
        if params.repetition_penalty != 1.0:
            self._repetition = llama_cpp.llama_sampler_init_penalties(
                vocab.size, _LOOK_BACK, params.repetition_penalty, 0.0, 0.0
            )
            self._add(self._repetition)
        if params.frequency_penalty or params.presence_penalty:
            self._add(
                llama_cpp.llama_sampler_init_penalties(
                    vocab.size, _LOOK_BACK, 1.0, params.frequency_penalty, params.presence_penalty
                )
            )

    def _add(self, sampler: Any) -> None:
        llama_cpp.llama_sampler_chain_add(self._chain, sampler)


def _draw(params: SamplingParams, choice: int) -> Iterable[Any]:
    if params.temperature is None or params.temperature < _COLDEST:
        yield llama_cpp.llama_sampler_init_greedy()
        return
    if params.temperature != 1.0:
        yield llama_cpp.llama_sampler_init_temp(params.temperature)
    if params.min_p:
        yield llama_cpp.llama_sampler_init_min_p(params.min_p, 1)
    if params.top_k and params.top_k > 0:
        yield llama_cpp.llama_sampler_init_top_k(params.top_k)
    if params.typical_p is not None and params.typical_p < 1.0:
        yield llama_cpp.llama_sampler_init_typical(params.typical_p, 1)
    if params.top_p is not None and params.top_p < 1.0:
        yield llama_cpp.llama_sampler_init_top_p(params.top_p, 1)
    yield llama_cpp.llama_sampler_init_dist(_seed(params.seed, choice))


def _seed(seed: int | None, choice: int) -> int:
    if seed is None:
        return secrets.randbelow(_RANDOM_SEED)
    return (seed + choice) % _RANDOM_SEED


def suppress(logits: NDArray[np.float32], tokens: Iterable[int]) -> None:
    """Make tokens impossible in one row of logits, for this draw only."""
    for token in tokens:
        logits[token] = -np.inf
