"""What not every engine has, the one list of it, and the refusal of what an engine or its model has not got."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NamedTuple

from backends.base import InvalidRequestError, UnsupportedError
from backends.types import Capabilities, GenerationRequest


class Feature(NamedTuple):
    """The parameter that asks for a feature, how to see that a request uses it, and that an engine has it.

    Where several parameters ask for the same, `param` finds the one that the request used.
    """

    param: str | Callable[[GenerationRequest], str]
    used: Callable[[GenerationRequest], bool]
    declared: Callable[[Capabilities], bool]


def _constraint_param(request: GenerationRequest) -> str:
    return request.constraint.param if request.constraint is not None else "response_format"


FEATURES = (
    Feature("messages", lambda request: request.messages is not None, lambda can: can.chat),
    Feature("max_tokens", lambda request: request.stopping.max_tokens == 0, lambda can: can.prefill_only),
    Feature("logprobs", lambda request: request.logprobs is not None, lambda can: can.logprobs),
    Feature("logprobs", lambda request: request.prompt_logprobs is not None, lambda can: can.logprobs),
    Feature(_constraint_param, lambda request: request.constraint is not None, lambda can: can.constraints),
    Feature("typical_p", lambda request: request.sampling.typical_p not in (None, 1.0), lambda can: can.typical_p),
    Feature("model", lambda request: request.adapter is not None, lambda can: can.adapters),
)


def refuse_undeclared(request: GenerationRequest, capabilities: Capabilities) -> None:
    """Raise `UnsupportedError` for the first feature that the request uses and the engine does not declare.

    Every engine begins its `stream` with this, so that nothing is dropped in silence wherever the engine runs.
    """
    for feature in FEATURES:
        if feature.used(request) and not feature.declared(capabilities):
            param = feature.param if isinstance(feature.param, str) else feature.param(request)
            raise UnsupportedError(f"this model does not support '{param}' as given", param=param)


def refuse_unknown(request: GenerationRequest, *, adapters: Collection[str], vocab_size: int) -> None:
    """Refuse an adapter that the model has not got, and ids that are no tokens of it.

    Engines take ids as indices into the logits, and not each looks at their range.

    Raises:
        UnsupportedError: the adapter, with the names of those that there are.
        InvalidRequestError: the id, with the parameter that it stands in.
    """
    if request.adapter is not None and request.adapter not in adapters:
        raise UnsupportedError(
            f"this model has no adapter '{request.adapter[:200]}'; it has {', '.join(adapters)}", param="model"
        )
    given = {"logit_bias": request.sampling.logit_bias, "stop_token_ids": request.stopping.stop_token_ids}
    for param, ids in given.items():
        for token in ids:
            if not 0 <= token < vocab_size:
                raise InvalidRequestError(f"{token} is not a token id of this model", param=param)
