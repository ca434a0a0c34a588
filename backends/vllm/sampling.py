"""From a request to vLLM's sampling parameters, so that it means what it means on every other engine."""

from __future__ import annotations

from typing import Any

from backends.constraints.constraining import lark_source
from backends.types import Constraint
from backends.vllm.job import Job

_SEEDS = 2**64
_SMALLEST_TOP_P = 1e-6  # vLLM takes no 0; so little leaves the most probable token alone, as 0 does elsewhere


def sampling_fields(job: Job, choice: int) -> dict[str, Any]:
    """The arguments of `vllm.SamplingParams` for one choice of a job, but for its constraint.

    vLLM gives token ids back; text, stop strings and the end of a constraint are found where the answer is made, as for
    the other engines. `max_tokens` is at least 1 there.
    """
    request, sampling = job.request, job.sampling
    max_tokens = max(job.max_new, 1)
    return {
        "temperature": sampling.temperature,
        "top_k": max(0, sampling.top_k or 0),
        "top_p": max(_SMALLEST_TOP_P, sampling.top_p or 0.0),
        "min_p": sampling.min_p,
        "repetition_penalty": sampling.repetition_penalty,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "seed": None if sampling.seed is None else (sampling.seed + choice) % _SEEDS,
        "logit_bias": dict(sampling.logit_bias) or None,
        "logprobs": request.logprobs,
        "prompt_logprobs": request.prompt_logprobs if request.echo else None,
        "max_tokens": max_tokens,
        "detokenize": False,
        **_ends(job, max_tokens),
    }


def _ends(job: Job, max_tokens: int) -> dict[str, Any]:
    """Which tokens end the answer. Those of the model never come under `ignore_eos`: vLLM would let them pass.

    It bans its stop tokens before `min_tokens`, so they are all banned to the end, and the request's own stop tokens
    are looked for where the answer is made.
    """
    stopping = job.request.stopping
    if stopping.ignore_eos:
        return {"ignore_eos": True, "stop_token_ids": sorted(job.banned), "min_tokens": max_tokens}
    return {"stop_token_ids": sorted(job.end_tokens), "min_tokens": min(stopping.min_tokens, max_tokens)}


def constraint_fields(constraint: Constraint) -> dict[str, Any]:
    """The arguments of `vllm.sampling_params.StructuredOutputsParams` for a constraint that has been checked."""
    if constraint.kind == "json_schema":
        return {"json": constraint.value}
    return {"grammar": lark_source(constraint)}
