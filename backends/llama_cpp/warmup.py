"""A first few tokens before anybody waits for them: weights come into memory, and step costs become known."""

from __future__ import annotations

import time

from backends.llama_cpp.context import Context
from backends.llama_cpp.plan import StepCost

_PROMPT = 16  # enough to see what a prompt token costs, few enough for a large model on a slow machine


def warm_up(context: Context) -> StepCost:
    """Evaluate a few tokens, forget them again, and return what steps were seen to cost.

    The first evaluation pays for reading the weights from disk, so it is not counted.
    """
    cost = StepCost(tiled=context.tiled)
    _timed_step(context, 1)
    cost.observe(1, 0, _timed_step(context, 1))
    cost.observe(0, _PROMPT, _timed_step(context, _PROMPT))
    return cost


def _timed_step(context: Context, tokens: int) -> float:
    batch = context.batch
    tokens = min(tokens, batch.capacity)
    batch.clear()
    batch.add(0, 0, [0] * tokens, output=1)
    started = time.monotonic()
    context.decode()
    elapsed = time.monotonic() - started
    context.forget_all()
    return elapsed
