"""Fitting users' own routes: a head over their few examples, told apart from prompts of the built-in domains.

Regularised least squares on 0 and 1 per route, solved through the texts' products with each other: with so few texts
that takes a moment, and what a head without any one example would say of it comes with the solution, exactly (Rifkin
and Lippert, "Notes on regularized least squares", 2007). So temperature and thresholds cost no examples.

Words that no example has get their scores from vectors of words: "refund" helps a route whose examples say "money
back".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from app.routing.calibration import fit_sigmoid, route_thresholds
from app.routing.features import ROWS, Ids, rows_of
from app.routing.fitting import Examples, Floats
from app.routing.joint import OwnHead
from app.routing.own import OwnRoute
from app.routing.regression import Doubles
from app.routing.scoring import MASS_UNIT, Collapsed, int8_steps

ENOUGH_EXAMPLES = 20
"""With fewer, a route has no threshold of its own: it answers above the precision that is asked for."""
_RIDGE = 3.0
_VECTORS = 4.0
"""How much word vectors count beside features, in the products of texts."""
_NONE_SHARE = 0.15
"""How much the texts of no own route count beside those of all routes."""
_TEMPERATURES = tuple(float(value) for value in np.geomspace(0.02, 1.0, 40))
_RARE = 12
"""Texts that have a feature which is rare: pairs of them are fewer than products with all others."""
_AT_ONCE = 4096


class WordVectors(NamedTuple):
    """Vectors `vectors[n, d]` of words, and the feature `rows[n]` of each, no two the same."""

    rows: Ids
    vectors: Floats


@dataclass(frozen=True, slots=True)
class _Texts:
    """All texts: features, label, whether it is a sentence; the others are keywords, whose features all count."""

    rows: list[Ids]
    labels: Ids
    sentence: NDArray[np.bool_]

    @classmethod
    def of(cls, routes: Sequence[OwnRoute], others: Sequence[str]) -> _Texts:
        """The routes' texts in their order, then those of none."""
        labelled = [(text, place, True) for place, route in enumerate(routes) for text in route.sentences]
        labelled += [(text, place, False) for place, route in enumerate(routes) for text in route.keywords]
        labelled += [(text, len(routes), True) for text in others]
        texts, labels, sentences = zip(*labelled, strict=True)
        return cls([rows_of(text) for text in texts], np.array(labels), np.array(sentences))

    def weights(self) -> Doubles:
        """How much each counts: each route the same in all, and the texts of none `_NONE_SHARE` of that."""
        sizes = np.bincount(self.labels).astype(np.float64)
        found = len(self.labels) / (len(sizes) - 1) / sizes[self.labels]
        found[self.labels == self.labels[-1]] *= _NONE_SHARE * (len(sizes) - 1)
        return found


def fit_own(
    routes: Sequence[OwnRoute], others: Sequence[str], base: Collapsed, words: WordVectors | None = None
) -> OwnHead:
    """The head of the routes; `others` are texts that belong to none, and `base` is what it will be joined with."""
    texts, weights = _Texts.of(routes, others), feature_weights_of(base)
    features = _Features(texts, weights, words)
    targets = np.eye(len(routes) + 1)[texts.labels]
    solved = _solved(features.products(), targets, texts.weights())
    table, scale = int8_steps(features.scores(solved.alpha) * weights[:, None])
    head = OwnHead(tuple(route.name for route in routes), table, scale, tuple(solved.alpha.sum(0).tolist()))
    return _calibrated(head, solved.unseen[texts.sentence], texts.labels[texts.sentence], routes)


def feature_weights_of(base: Collapsed) -> Floats:
    """The weights of features that a fitted model has, [ROWS]: own routes share them, and with them the mass."""
    return np.asarray(np.sqrt(base.table[:, len(base.routes)] * np.float32(MASS_UNIT)), np.float32)


class _Features:
    """The texts' features that count, scaled to length 1, and the sums of their word vectors.

    What features each has, is kept in the order of the features: `values[n]` of feature `rows[n]` in text `of_text[n]`.
    """

    def __init__(self, texts: _Texts, weights: Floats, words: WordVectors | None) -> None:
        examples, self._words = Examples.of(texts.rows), words
        frequency = examples.document_frequency()
        counts = frequency >= 2
        for rows, sentence in zip(texts.rows, texts.sentence, strict=True):
            if not sentence:
                counts[rows] = True
        scaled = examples.counts * weights[examples.rows]
        squares = examples.sums(np.asarray(scaled * weights[examples.rows], np.float32))
        of_text = np.repeat(np.arange(len(examples)), examples.lengths())
        values = np.asarray(scaled / np.sqrt(np.maximum(squares, 1e-6))[of_text], np.float32)
        self._vectors = None if words is None else _summed(examples, values, words)
        order = np.argsort(examples.rows, kind="stable")
        order = order[counts[examples.rows[order]]]
        self._texts = len(examples)
        self._rows, self._of_text, self._values = examples.rows[order], of_text[order], values[order]
        self._frequency = frequency[self._rows]

    def products(self) -> Floats:
        """Every text's product with every text, [texts, texts], with 1 for the bias."""
        found = np.ones((self._texts, self._texts), np.float32)
        for part in self._of_frequent():
            found += part @ part.T
        for frequency in range(1, _RARE + 1):
            found += self._of_rare(frequency)
        if self._vectors is not None:
            found += _VECTORS * (self._vectors @ self._vectors.T)
        return found

    def _of_frequent(self) -> Iterator[Floats]:
        """What each text has of some features that many texts have, [texts, features]."""
        here = self._frequency > _RARE
        unique, places = np.unique(self._rows[here], return_inverse=True)
        of_text, values = self._of_text[here], self._values[here]
        for begin in range(0, len(unique), _AT_ONCE):
            part = np.zeros((self._texts, min(_AT_ONCE, len(unique) - begin)), np.float32)
            mine = (places >= begin) & (places < begin + _AT_ONCE)
            part[of_text[mine], places[mine] - begin] = values[mine]
            yield part

    def _of_rare(self, frequency: int) -> Doubles:
        """What features add that so many texts have: product by product, since most would be zero."""
        here = self._frequency == frequency
        texts = self._of_text[here].reshape(-1, frequency)
        values = self._values[here].reshape(-1, frequency)
        places = texts[:, :, None] * self._texts + texts[:, None, :]
        added = np.bincount(
            places.ravel(), (values[:, :, None] * values[:, None, :]).ravel(), minlength=self._texts * self._texts
        )
        return np.asarray(added.reshape(self._texts, self._texts), np.float64)

    def scores(self, alpha: Doubles) -> Floats:
        """What each row of the table adds to each output, [ROWS, outputs], in a text whose features weigh 1."""
        share = alpha.astype(np.float32)
        found = np.zeros((ROWS, alpha.shape[1]), np.float32)
        unique, starts = np.unique(self._rows, return_index=True)
        found[unique] = np.add.reduceat(self._values[:, None] * share[self._of_text], starts, axis=0)
        if self._words is not None and self._vectors is not None:
            found[self._words.rows] += _VECTORS * (self._words.vectors @ (self._vectors.T @ share))
        return found


def _summed(examples: Examples, values: Floats, words: WordVectors) -> Floats:
    """The sum of each text's word vectors, scaled as its features are, [texts, d]."""
    places = np.full(ROWS, -1, np.int64)
    places[words.rows] = np.arange(len(words.rows))
    known = np.flatnonzero(places[examples.rows] >= 0)
    of_text = np.repeat(np.arange(len(examples)), examples.lengths())[known]
    found = np.zeros((len(examples), words.vectors.shape[1]), np.float32)
    some, starts = np.unique(of_text, return_index=True)
    if some.size:
        found[some] = np.add.reduceat(words.vectors[places[examples.rows[known]]] * values[known, None], starts)
    return found


@dataclass(frozen=True, slots=True)
class _Solution:
    """`alpha[texts, outputs]`, and what heads say of each text that had not seen it, `unseen[texts, outputs]`."""

    alpha: Doubles
    unseen: Doubles


def _solved(products: Floats, targets: Doubles, weights: Doubles) -> _Solution:
    inverse = np.linalg.inv(products + np.diag((_RIDGE / weights).astype(np.float32))).astype(np.float64)
    alpha = inverse @ targets
    return _Solution(alpha, targets - alpha / np.diag(inverse)[:, None])


def _calibrated(head: OwnHead, unseen: Doubles, labels: Ids, routes: Sequence[OwnRoute]) -> OwnHead:
    """The head with what `unseen[texts, outputs]` tells of its errors."""
    mine = labels < len(routes)
    temperature = min(_TEMPERATURES, key=lambda t: _loss(unseen[mine, :-1] / t, labels[mine]))
    none = fit_sigmoid(unseen[:, -1] - unseen[:, :-1].max(1), ~mine)
    told = msgspec.structs.replace(head, temperature=temperature, none=none)
    p = np.array([told.shares(row) for row in unseen.tolist()])
    found = route_thresholds(p[:, :-1], labels, len(routes))  # the joint model shares out what is left
    return msgspec.structs.replace(
        told,
        by_route={r.name: t for r, t in zip(routes, found, strict=True) if len(r.examples) >= ENOUGH_EXAMPLES},
        accuracy=float((p[mine].argmax(1) == labels[mine]).mean()),
    )


def _loss(logits: Doubles, labels: Ids) -> float:
    """The cross entropy, each label counting the same."""
    z = logits - logits.max(1, keepdims=True)
    told = z[np.arange(len(z)), labels] - np.log(np.exp(z).sum(1))
    sizes = np.bincount(labels)
    return -float((told / sizes[labels]).sum())
