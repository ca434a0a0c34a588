"""What a request leaves open about sampling: the model's own wishes first, then OpenAI's defaults, on every engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from backends.base import ModelUnavailableError
from backends.types import SamplingParams

Keys = Mapping[str, tuple[str, Callable[[Any], int | float]]]
"""Where a model writes its wishes: a key of its metadata, the parameter that it means, and the kind of its value."""

GGUF_KEYS: Keys = {
    "general.sampling.temp": ("temperature", float),
    "general.sampling.top_k": ("top_k", int),
    "general.sampling.top_p": ("top_p", float),
    "general.sampling.min_p": ("min_p", float),
    "general.sampling.penalty_repeat": ("repetition_penalty", float),
}
GENERATION_CONFIG_KEYS: Keys = {
    "temperature": ("temperature", float),
    "top_k": ("top_k", int),
    "top_p": ("top_p", float),
    "min_p": ("min_p", float),
    "repetition_penalty": ("repetition_penalty", float),
}
"""Of a Hugging Face folder's `generation_config.json`."""

_API_DEFAULTS = SamplingParams(temperature=1.0, top_k=0, top_p=1.0, min_p=0.0, typical_p=1.0, repetition_penalty=1.0)


def sampling_defaults(metadata: Mapping[str, Any], keys: Keys = GGUF_KEYS) -> SamplingParams:
    """What holds where a request is silent: what the model says under `keys`, else OpenAI's defaults.

    Raises:
        ModelUnavailableError: one of the keys is not a number.
    """
    given: dict[str, Any] = {}
    for key, (field, convert) in keys.items():
        if metadata.get(key) is not None:
            try:
                given[field] = convert(metadata[key])
            except (TypeError, ValueError):
                raise ModelUnavailableError(f"the model's {key} is {str(metadata[key])[:50]!r}, not a number") from None
    return msgspec.structs.replace(_API_DEFAULTS, **given)


def resolve(params: SamplingParams, defaults: SamplingParams) -> SamplingParams:
    """The request's parameters with its gaps filled from `defaults`."""
    gaps = {
        field: getattr(defaults, field) for field in SamplingParams.__struct_fields__ if getattr(params, field) is None
    }
    return msgspec.structs.replace(params, **gaps)
