"""What an engine does not declare is refused, what it declares is not."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from backends.base import InvalidRequestError, UnsupportedError
from backends.features import refuse_undeclared, refuse_unknown
from backends.types import Capabilities, Constraint, GenerationRequest, SamplingParams, StopParams

NOTHING = Capabilities(chat=False)
EVERYTHING = Capabilities(constraints=True, logprobs=True, adapters=True, prefill_only=True, typical_p=True)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"stopping": StopParams(max_tokens=0)}, "max_tokens"),
        ({"logprobs": 0}, "logprobs"),
        ({"prompt_logprobs": 1}, "logprobs"),
        ({"constraint": Constraint("json_object")}, "response_format"),
        ({"constraint": Constraint("regex", "a", "guided_regex")}, "guided_regex"),
        ({"constraint": Constraint("gbnf", 'root ::= "a"', "grammar")}, "grammar"),
        ({"adapter": "x"}, "model"),
        ({"sampling": SamplingParams(typical_p=0.5)}, "typical_p"),
        ({"messages": ()}, "messages"),
    ],
)
def test_a_feature_needs_its_declaration(fields: dict[str, Any], param: str) -> None:
    plain = GenerationRequest(id="r")
    wanted = msgspec.structs.replace(plain, **fields)
    refuse_undeclared(plain, NOTHING)
    refuse_undeclared(wanted, EVERYTHING)
    with pytest.raises(UnsupportedError, match=param) as refused:
        refuse_undeclared(wanted, NOTHING)
    assert refused.value.param == param


def test_a_parameter_that_changes_nothing_needs_no_declaration() -> None:
    refuse_undeclared(GenerationRequest(id="r", sampling=SamplingParams(typical_p=1.0)), NOTHING)


@pytest.mark.parametrize(
    ("fields", "error", "param"),
    [
        ({"adapter": "y"}, UnsupportedError, "model"),
        ({"sampling": SamplingParams(logit_bias={10: 1.0})}, InvalidRequestError, "logit_bias"),
        ({"sampling": SamplingParams(logit_bias={-1: 1.0})}, InvalidRequestError, "logit_bias"),
        ({"stopping": StopParams(stop_token_ids=(9, 10))}, InvalidRequestError, "stop_token_ids"),
    ],
)
def test_what_the_model_has_not_got_is_refused(
    fields: dict[str, Any], error: type[InvalidRequestError], param: str
) -> None:
    sampling, stopping = SamplingParams(logit_bias={9: 1.0}), StopParams(stop_token_ids=(0,))
    known = GenerationRequest(id="r", adapter="x", sampling=sampling, stopping=stopping)
    refuse_unknown(known, adapters=("x",), vocab_size=10)
    with pytest.raises(error, match=r"adapter 'y'; it has x|not a token id") as refused:
        refuse_unknown(GenerationRequest(id="r", **fields), adapters=("x",), vocab_size=10)
    assert refused.value.param == param
