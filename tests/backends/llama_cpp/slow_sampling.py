"""What a draw has to follow: the whole distribution, slowly and obviously right, in double precision."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backends.types import SamplingParams

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Distribution:
    """Probabilities of all tokens. Numbers closer than `margin` to a limit may be taken for either side of it."""

    probabilities: Floats
    margin: float = math.inf

    def then(self, truncate: Callable[[Floats], tuple[list[int], float]]) -> Distribution:
        """What is left, as a distribution, after `truncate` has said which tokens stay and how close that was."""
        kept, margin = truncate(self.probabilities)
        rest = np.zeros_like(self.probabilities)
        rest[kept] = self.probabilities[kept]
        return Distribution(rest / rest.sum(), min(self.margin, margin))


def adjusted(
    logits: NDArray[np.float32],
    params: SamplingParams,
    *,
    prompt: Sequence[int] = (),
    answer: Sequence[int] = (),
    banned: Iterable[int] = (),
) -> Floats:
    """Logits after bias and penalties."""
    scores = [-math.inf if math.isnan(logit) else float(logit) for logit in logits]
    for token, bias in params.logit_bias.items():
        scores[token] += bias if bias > -100 else -math.inf
    for token in banned:
        scores[token] = -math.inf
    factor = params.repetition_penalty or 1.0
    for token in {*prompt, *answer}:
        scores[token] = scores[token] / factor if scores[token] > 0 else scores[token] * factor
    for token in set(answer):
        scores[token] -= params.presence_penalty + params.frequency_penalty * answer.count(token)
    return np.array(scores)


def distribution(scores: Floats, params: SamplingParams) -> Distribution:
    """What the next token is drawn from, by logits after bias and penalties."""
    if not params.temperature or params.temperature < 1e-5:
        return Distribution(np.eye(scores.size)[by_falling(scores)[0]])
    with np.errstate(under="ignore"):
        weights = np.exp((scores - scores.max()) / params.temperature)
    found = Distribution(weights / weights.sum())
    if params.min_p:
        found = found.then(lambda p: min_p(p, params.min_p or 0))
    if params.top_k and params.top_k > 0:
        found = found.then(lambda p: ([i for i in by_falling(scores) if p[i]][: params.top_k], math.inf))
    if params.typical_p and params.typical_p < 1:
        found = found.then(lambda p: typical_p(p, params.typical_p or 1))
    if params.top_p is not None and params.top_p < 1:
        found = found.then(lambda p: leading(p, by_falling(p), params.top_p or 0))
    return found


def by_falling(scores: Floats) -> list[int]:
    """Ids by falling score, of equals the lower first."""
    return sorted(range(scores.size), key=lambda i: (-scores[i], i))


def min_p(p: Floats, share: float) -> tuple[list[int], float]:
    """Ids that are at least `share` times as probable as the most probable one."""
    limit = p.max() * share
    closest = min((abs(q / limit - 1) for q in p if q != p.max()), default=math.inf)
    return [i for i, q in enumerate(p) if q >= limit or q == p.max()], closest


def typical_p(p: Floats, share: float) -> tuple[list[int], float]:
    """Ids whose information is closest to the entropy, until they have `share` of the whole."""
    possible = [i for i, q in enumerate(p) if q > 0]
    entropy = -sum(p[i] * math.log(p[i]) for i in possible)
    distance = {i: abs(-math.log(p[i]) - entropy) for i in possible}
    order = sorted(possible, key=lambda i: (distance[i], i))
    kept, margin = leading(p, order, share)
    # Equals are divided by id. Others of almost the same distance as the last that is kept may change places with it.
    last = kept[-1]
    closest = min((abs(distance[i] - distance[last]) for i in possible if p[i] != p[last]), default=math.inf)
    return kept, min(margin, closest)


def leading(p: Floats, order: Sequence[int], share: float) -> tuple[list[int], float]:
    """The first ids of `order` that together have `share`; at least one."""
    reached = np.cumsum(p[list(order)])
    count = min(int((reached < share).sum()) + 1, len(order))
    return list(order[:count]), float(np.abs(reached - share).min())
