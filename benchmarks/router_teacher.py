"""What a sentence encoder says of the prompts that the router is fitted on, as labels beside those that they have.

A logistic regression on sentence vectors generalises to new sources better than words do. Half of each prompt's label
is that regression's opinion of it: so what two prompts have in common for the encoder, the table of words learns too
(Hinton et al., Distilling the Knowledge in a Neural Network, arXiv:1503.02531).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import replace

import numpy as np

from app.routing.features import Ids
from app.routing.fitting import Floats, minimised, one_hot
from app.routing.recipe import Labelled

Embed = Callable[[Sequence[str]], Floats]
Linear = tuple[Floats, Floats]

TRUST = 0.5
"""How much of a label is the teacher's; chosen on sources that were left out."""
_RIDGE, _ITERATIONS = 1e-4, 200


def even(labels: Ids) -> Floats:
    """How much each text counts so that all labels weigh the same."""
    return np.asarray(1 / np.bincount(labels)[labels], np.float32)


def regressed(vectors: Floats, labels: Ids, importance: Floats, routes: int) -> Linear:
    """Weights [width, routes] and bias [routes] of a multinomial logistic regression with a squared penalty."""
    share = (importance / importance.sum()).astype(np.float32)
    target = one_hot(labels, routes)
    size = vectors.shape[1] * routes

    def loss(x: Floats) -> tuple[float, Floats]:
        weights = x[:size].reshape(-1, routes)
        logs = _log_softmax(vectors @ weights + x[size:])
        errors = (np.exp(logs) - target) * share[:, None]
        value = 0.5 * _RIDGE * float((weights * weights).sum()) - float(share @ (logs * target).sum(1))
        return value, np.concatenate([(vectors.T @ errors + _RIDGE * weights).ravel(), errors.sum(0)])

    found = minimised(loss, np.zeros(size + routes, np.float32), _ITERATIONS)
    return found[:size].reshape(-1, routes), found[size:]


def logits(head: Linear, vectors: Floats) -> Floats:
    """Scores [texts, routes]."""
    return np.asarray(vectors @ head[0] + head[1])


def _log_softmax(z: Floats) -> Floats:
    z = z - z.max(1, keepdims=True)
    return np.asarray(z - np.log(np.exp(z).sum(1, keepdims=True)))


def taught(
    texts: Sequence[Labelled], routes: int, embed: Embed, apart: Set[str], cuts: Sequence[Labelled] = ()
) -> list[Labelled]:
    """The texts and then `cuts`, with shares but for those of families `apart`.

    The teacher has seen the other texts, and no cuts.
    """
    prompts = [item for item in texts if item.family not in apart]
    labels = np.array([item.label for item in prompts])
    vectors = embed([item.text for item in prompts])
    teacher = regressed(vectors, labels, even(labels), routes)
    asked = np.concatenate([vectors, embed([item.text for item in cuts])]) if cuts else vectors
    targets = one_hot(np.array([item.label for item in (*prompts, *cuts)]), routes)
    mixed = TRUST * np.exp(_log_softmax(logits(teacher, asked))) + (1 - TRUST) * targets
    shares = (tuple(row) for row in mixed.tolist())
    return [item if item.family in apart else replace(item, shares=next(shares)) for item in (*texts, *cuts)]
