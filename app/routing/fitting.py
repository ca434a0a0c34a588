"""Fitting a linear head over sparse features: multinomial logistic regression by L-BFGS, in NumPy.

An example is a text's rows with their counts; its features are weighted and divided by the square root of the sum of
squared weights over occurrences, which is what the router can keep while a text arrives. Rows may have vectors as well
(those of words), whose weighted sum is a second, dense group of features; the head over it is added to the rows' own
weights, so that in the end there is one table and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.routing.features import ROWS, Ids

Floats = NDArray[np.float32]

_MEMORY = 8
_SUFFICIENT_DECREASE = 1e-4
_MOST_HALVINGS = 20


@dataclass(frozen=True, slots=True)
class Examples:
    """Texts as a sparse matrix: `rows[n]` and `counts[n]`, those of text i from `starts[i]` to `starts[i + 1]`."""

    rows: Ids
    counts: Floats
    starts: Ids

    @classmethod
    def of(cls, texts: Sequence[Ids]) -> Examples:
        """From each text's rows, as `features.rows_of` finds them."""
        unique = [np.unique(rows, return_counts=True) for rows in texts]
        starts = np.cumsum([0, *(len(rows) for rows, _ in unique)])
        empty = np.zeros(0, np.int64)
        rows = np.concatenate([empty, *(rows for rows, _ in unique)])
        counts = np.concatenate([empty, *(counts for _, counts in unique)]).astype(np.float32)
        return cls(rows, counts, starts)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def lengths(self) -> Ids:
        """How many entries each text has."""
        return np.diff(self.starts)

    def document_frequency(self) -> Ids:
        """In how many texts each row occurs, [ROWS]."""
        return np.bincount(self.rows, minlength=ROWS).astype(np.int64)

    def sums(self, values: Floats) -> Floats:
        """Per text, the sum of `values[n]` or `values[n, k]` over its entries."""
        total = np.zeros((len(self), *values.shape[1:]), np.float32)
        some = np.flatnonzero(self.lengths())
        if some.size:
            total[some] = np.add.reduceat(values, self.starts[some], axis=0)
        return total


def feature_weights(document_frequency: Ids, texts: int) -> Floats:
    """A weight per row, from 1 for what is in one text to `_LEAST` for what is in all; unseen rows weigh 1."""
    share = np.log(np.maximum(document_frequency, 1)) / max(np.log(max(texts, 2)), 1.0)
    return np.asarray(1 - (1 - _LEAST) * np.minimum(share, 1), np.float32)


_LEAST = 0.25


class Design:
    """Examples as the optimiser needs them: only rows that count, scaled, by text and by row."""

    def __init__(self, examples: Examples, weights: Floats, kept: Ids, vectors: Floats | None = None) -> None:
        places = np.full(ROWS, -1, np.int64)
        places[kept] = np.arange(len(kept))
        scaled = examples.counts * weights[examples.rows]
        squares = np.asarray(scaled * weights[examples.rows], np.float32)
        norms = np.sqrt(np.maximum(examples.sums(squares), 1e-6))
        of_text = np.repeat(np.arange(len(examples)), examples.lengths())
        scaled = (scaled / norms[of_text]).astype(np.float32)
        self.dense = None if vectors is None else examples.sums(vectors[examples.rows] * scaled[:, None])
        here = places[examples.rows] >= 0
        self.texts, self.rows, self.width = len(examples), places[examples.rows[here]], len(kept)
        self.values, self.of_text = scaled[here].astype(np.float32), of_text[here]

    def forward(self, head: Floats) -> Floats:
        """Scores [texts, routes] of a head [rows that count, routes]."""
        columns = np.ascontiguousarray(head.T)  # a column's values are gathered from all over it
        return _stacked([np.bincount(self.of_text, self.values * one[self.rows], self.texts) for one in columns])

    def backward(self, errors: Floats) -> Floats:
        """The gradient [rows that count, routes] for errors [texts, routes]."""
        columns = np.ascontiguousarray(errors.T)
        return _stacked([np.bincount(self.rows, self.values * one[self.of_text], self.width) for one in columns])


def _stacked(columns: Sequence[NDArray[Any]]) -> Floats:
    return np.stack(columns, axis=1).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Head:
    """What a fit finds: weights of the rows that count, of the dense features, and a bias per route."""

    rows: Floats
    dense: Floats | None
    bias: Floats


@dataclass(frozen=True, slots=True)
class Penalty:
    """Squared penalties on the weights of rows and of dense features, and when to stop."""

    rows: float = 1e-3
    dense: float = 1e-3
    iterations: int = 60


def one_hot(labels: Ids, routes: int) -> Floats:
    """[texts, routes]: 1 at each text's route."""
    target = np.zeros((len(labels), routes), np.float32)
    target[np.arange(len(labels)), labels] = 1
    return target


def fit_head(design: Design, labels: Ids | Floats, routes: int, importance: Floats, penalty: Penalty) -> Head:
    """Multinomial logistic regression: `labels[texts]` are routes, or `labels[texts, routes]` how far each is one.

    `importance[texts]` sums to anything.
    """
    share = (importance / importance.sum()).astype(np.float32)
    target = one_hot(labels.astype(np.int64), routes) if labels.ndim == 1 else labels.astype(np.float32)
    dense = np.zeros((design.texts, 0), np.float32) if design.dense is None else design.dense
    sizes = (design.width * routes, dense.shape[1] * routes)

    def parts(x: Floats) -> tuple[Floats, Floats, Floats]:
        first, second, bias = np.split(x, np.cumsum(sizes))
        return first.reshape(design.width, routes), second.reshape(dense.shape[1], routes), bias

    def loss(x: Floats) -> tuple[float, Floats]:
        rows, other, bias = parts(x)
        z = design.forward(rows) + dense @ other + bias
        z -= z.max(1, keepdims=True)
        total = np.log(np.exp(z).sum(1, keepdims=True))
        errors = (np.exp(z - total) - target) * share[:, None]
        value = -float((share * ((z - total) * target).sum(1)).sum())
        value += 0.5 * (penalty.rows * float((rows * rows).sum()) + penalty.dense * float((other * other).sum()))
        gradients = (design.backward(errors) + penalty.rows * rows, dense.T @ errors + penalty.dense * other)
        return value, np.concatenate([*(gradient.ravel() for gradient in gradients), errors.sum(0)])

    found = parts(minimised(loss, np.zeros(sum(sizes) + routes, np.float32), penalty.iterations))
    return Head(found[0], None if design.dense is None else found[1], found[2])


def minimised(loss: Callable[[Floats], tuple[float, Floats]], x: Floats, iterations: int) -> Floats:
    """Where `loss`, which returns value and gradient, is small: L-BFGS (Nocedal and Wright, algorithm 7.4)."""
    value, gradient = loss(x)
    steps: list[tuple[Floats, Floats, float]] = []
    for _ in range(iterations):
        direction = -_inverse_times(steps, gradient)
        slope = float(direction @ gradient)
        size = 1.0 if steps else 1.0 / max(float(np.abs(gradient).sum()), 1e-12)
        for _ in range(_MOST_HALVINGS):
            there, new_gradient = loss(x + np.float32(size) * direction)
            if there <= value + _SUFFICIENT_DECREASE * size * slope:
                break
            size /= 2
        else:
            return x
        step, change = np.float32(size) * direction, new_gradient - gradient
        curvature = float(step @ change)
        if curvature > 1e-12:
            steps = [*steps[1 - _MEMORY :], (step, change, 1 / curvature)]
        done = value - there < 1e-7 * max(abs(value), 1e-9)
        x, value, gradient = x + step, there, new_gradient
        if done:
            break
    return x


def _inverse_times(steps: list[tuple[Floats, Floats, float]], gradient: Floats) -> Floats:
    """The approximate inverse Hessian times the gradient, by the two-loop recursion."""
    found = gradient.copy()
    factors = []
    for step, change, rho in reversed(steps):
        factors.append(rho * float(step @ found))
        found -= np.float32(factors[-1]) * change
    if steps:
        step, change, rho = steps[-1]
        found *= np.float32(1 / (rho * max(float(change @ change), 1e-12)))
    for (step, change, rho), factor in zip(steps, reversed(factors), strict=True):
        found += np.float32(factor - rho * float(change @ found)) * step
    return found
