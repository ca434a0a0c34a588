"""The parameters of a request: ranges that settings set, features that are not offered, and the engine's values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from app.api.constraints import translate_constraint
from app.api.wire import GenerationBody, Ignored
from app.settings import Settings
from backends.base import InvalidRequestError, UnsupportedError
from backends.types import PRIORITY_NORMAL, GenerationRequest, SamplingParams, StopParams

T = TypeVar("T")

CHAT_FEATURES: Mapping[str, tuple[Any, ...]] = {
    "audio": (None,),
    "function_call": (None, "none"),
    "functions": (None, []),
    "modalities": (None, ["text"]),
    "tool_choice": (None, "none"),
    "tools": (None, []),
    "web_search_options": (None,),
}
"""Fields of features that chat does not offer, each with the values that ask for nothing."""

COMPLETION_FEATURES: Mapping[str, tuple[Any, ...]] = {
    "best_of": (None, 1),
    "suffix": (None, ""),
}


def translate_parameters(
    body: GenerationBody, job_id: str, features: Mapping[str, tuple[Any, ...]], settings: Settings
) -> GenerationRequest:
    """A request with all that chat and text completions share, still without a prompt.

    Raises:
        InvalidRequestError: a value that the settings do not allow, or two that exclude each other.
        UnsupportedError: a parameter of `features` asks for something.
    """
    refuse_unsupported(body, features)
    if body.stream_options is not None and not body.stream:
        raise InvalidRequestError("'stream_options' is only allowed when 'stream' is true", param="stream_options")
    return GenerationRequest(
        id=job_id,
        sampling=sampling(body),
        stopping=stopping(body, settings),
        n=choices(body, settings),
        cache_salt=body.cache_salt,
        priority=-_or(body.priority, PRIORITY_NORMAL),  # as in vLLM, higher numbers come later
        skip_special_tokens=body.skip_special_tokens is not False,
        constraint=translate_constraint(body),
    )


def refuse_unsupported(body: GenerationBody, features: Mapping[str, tuple[Any, ...]]) -> None:
    """Raise `UnsupportedError` for the first parameter that asks for a feature that is not offered."""
    for name, harmless in features.items():
        if getattr(body, name) not in harmless:
            raise UnsupportedError(f"The parameter '{name}' is not supported as given", param=name)


def ignored_parameters(body: Ignored) -> list[str]:
    """Names of the harmless parameters that were given and are ignored."""
    return [name for name in Ignored.__struct_fields__ if getattr(body, name) is not msgspec.UNSET]


def choices(body: GenerationBody, settings: Settings) -> int:
    """`n`, within the settings' bound."""
    limit = settings.limits.max_n
    if (n := _or(body.n, 1)) > limit:
        raise InvalidRequestError(f"'n' must be at most {limit}", param="n")
    return n


def sampling(body: GenerationBody) -> SamplingParams:
    """How tokens are drawn; what the client leaves out stays open for the model's defaults."""
    return SamplingParams(
        temperature=body.temperature,
        top_k=body.top_k if body.top_k != -1 else 0,
        top_p=body.top_p,
        min_p=body.min_p,
        typical_p=body.typical_p,
        repetition_penalty=_repetition_penalty(body),
        presence_penalty=_or(body.presence_penalty, 0.0),
        frequency_penalty=_or(body.frequency_penalty, 0.0),
        seed=body.seed,
        logit_bias=_or(body.logit_bias, {}),
    )


def stopping(body: GenerationBody, settings: Settings) -> StopParams:
    """When a choice ends."""
    max_tokens, min_tokens = token_limit(body, settings), _or(body.min_tokens, 0)
    if max_tokens is not None and min_tokens > max_tokens:
        raise InvalidRequestError(f"'min_tokens' must be at most {max_tokens}", param="min_tokens")
    return StopParams(
        max_tokens=max_tokens,
        min_tokens=min_tokens,
        stop=stop_texts(body, settings.limits.max_stop),
        stop_token_ids=tuple(_or(body.stop_token_ids, [])),
        include_stop=bool(body.include_stop_str_in_output),
        ignore_eos=bool(body.ignore_eos),
    )


def token_limit(body: GenerationBody, settings: Settings) -> int | None:
    """The smaller of what the client gives, else the settings' default; never above the settings' ceiling."""
    given = [limit for limit in (body.max_tokens, body.max_completion_tokens) if limit is not None]
    wanted = min(given) if given else settings.model.max_tokens
    ceiling = settings.model.max_tokens_limit
    limits = [limit for limit in (wanted, ceiling) if limit is not None]
    return min(limits) if limits else None


def stop_texts(body: GenerationBody, most: int) -> tuple[str, ...]:
    """`stop` as a tuple, within the settings' bound."""
    texts = (body.stop,) if isinstance(body.stop, str) else tuple(_or(body.stop, []))
    if len(texts) > most:
        raise InvalidRequestError(f"'stop' must have at most {most} entries", param="stop")
    return texts


def _repetition_penalty(body: GenerationBody) -> float | None:
    first, second = body.repetition_penalty, body.repeat_penalty
    if first is not None and second is not None and first != second:
        raise InvalidRequestError("'repeat_penalty' and 'repetition_penalty' differ", param="repeat_penalty")
    return second if first is None else first


def _or(value: T | None, default: T) -> T:  # `or` would also replace a zero
    return default if value is None else value
