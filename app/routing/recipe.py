"""How a router is fitted from labelled texts: the head, then what is fitted on texts that it has not seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from app.routing.calibration import (
    Observations,
    fit_stranger_test,
    fit_temperature,
    route_thresholds,
    stranger_features,
)
from app.routing.decisions import FEWEST_TOKENS, STABLE_CHUNKS, Thresholds
from app.routing.features import ROWS, FeatureState, Ids, encode, rows_of
from app.routing.fitting import Design, Examples, Floats, Penalty, feature_weights, fit_head, one_hot
from app.routing.passages import EARLY_SHARE, Point, early_threshold, fit_agreement, passings
from app.routing.scoring import Calibration, Collapsed, Scores, collapsed, scored
from app.routing.strangers import stranger_rows
from app.routing.timeline import chunks

CHUNK_TOKENS = 8
LONG_TOKENS = 64
"""Tokens of a text that has a beginning to decide by."""
FEWEST_TEXTS = 2
"""Texts that a row must be in to have a weight of its own."""
_TEMPERED = 0.25
"""0 lets the texts count as they come, 1 lets each family of a label count the same."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """A text with its route's place and the family of sources that it comes from.

    `shares` says how far it belongs to each route, where that is not all to the one.
    """

    text: str
    label: int
    family: str
    shares: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Trace:
    """What a head says of a text after each chunk, and at last of the whole: z and tokens.

    Novelty and strangeness are those of the whole.
    """

    label: int
    family: str
    logits: list[list[float]]
    tokens: list[int]
    novelty: float = 0.0
    strangeness: float = 0.0


@dataclass(frozen=True, slots=True)
class Options:
    """Penalties, how much more a text of `favoured` families counts, and how far labels are balanced.

    `balance` 0 lets labels count as they come, 1 lets all count the same. A feature is new to the model when fewer
    than `familiar` texts have it, those of `background` families apart, which are not what people write. `known` says
    how much the texts of a family count where strangers are told from others.
    """

    penalty: Penalty = field(default_factory=lambda: Penalty(3e-6, 1e-5, 40))
    favoured: dict[str, float] = field(default_factory=dict)
    balance: float = 0.0
    background: frozenset[str] = frozenset()
    familiar: int = 1
    known: dict[str, float] = field(default_factory=dict)

    def stranger_share(self, item: Labelled) -> float:
        """How much the text counts among those that strangers are told from."""
        return 0.0 if item.family in self.background else self.known.get(item.family, 1.0)


def fit_model(
    texts: Sequence[Labelled],
    routes: tuple[str, ...],
    options: Options,
    vectors: Floats | None = None,
    strangers: Sequence[str] = (),
) -> Collapsed:
    """The head of these texts, collapsed, not calibrated. `vectors[ROWS, d]` are those of words, zero elsewhere.

    `strangers` are texts that belong to no route.
    """
    state_rows = [rows_of(item.text) for item in texts]
    examples = Examples.of(state_rows)
    frequency = examples.document_frequency()
    weights = feature_weights(frequency, len(texts))
    kept = np.flatnonzero(frequency >= min(FEWEST_TEXTS, len(texts)))
    labels = one_hot(np.array([item.label for item in texts]), len(routes))
    for place, item in enumerate(texts):
        if item.shares:
            labels[place] = item.shares
    design = Design(examples, weights, kept, vectors)
    head = fit_head(design, labels, len(routes), importances(texts, options), options.penalty)
    scores = np.zeros((ROWS, len(routes)), np.float32)
    scores[kept] = head.rows
    if vectors is not None and head.dense is not None:
        scores += vectors @ head.dense
    strange = None
    if strangers:
        known = [(rows, options.stranger_share(item)) for rows, item in zip(state_rows, texts, strict=True)]
        foreign = [rows_of(text) for text in strangers]
        strange = weights * stranger_rows(known, foreign, weights, options.penalty, vectors)
    table, scale = collapsed(scores * weights[:, None], weights, familiar(state_rows, texts, options), strange)
    return Collapsed(routes, table, scale, tuple(head.bias.tolist()))


def familiar(rows: Sequence[Ids], texts: Sequence[Labelled], options: Options) -> NDArray[np.bool_]:
    """Which rows are not new, [ROWS]."""
    prompts = [found for found, item in zip(rows, texts, strict=True) if item.family not in options.background]
    return np.asarray(Examples.of(prompts).document_frequency() >= options.familiar)


def importances(texts: Sequence[Labelled], options: Options) -> Floats:
    """How much each text counts: less, the more its label and family have, and less, the more its label has.

    Favoured families, those written for this purpose, count for more than their number.
    """
    sizes = Counter((item.label, item.family) for item in texts)
    found = [options.favoured.get(item.family, 1.0) * sizes[item.label, item.family] ** -_TEMPERED for item in texts]
    totals = dict.fromkeys((item.label for item in texts), 0.0)
    for item, value in zip(texts, found, strict=True):
        totals[item.label] += value
    return np.array([v * totals[t.label] ** -options.balance for t, v in zip(texts, found, strict=True)], np.float32)


def traced(model: Collapsed, item: Labelled, chunk_tokens: int = CHUNK_TOKENS) -> Trace:
    """The text's trace, by a model that was not fitted on it."""
    state, sums, features = FeatureState(), np.zeros(model.table.shape[1], np.int64), 0
    logits: list[list[float]] = []
    tokens: list[int] = []
    pieces = [(piece, False) for piece in chunks(item.text, chunk_tokens)]
    for piece, last in [*pieces, ("", True)]:
        rows = state.take(encode(piece), last=last)
        sums += model.table[rows].sum(0, dtype=np.int64)
        features += len(rows)
        logits.append(model.logits(sums.tolist()))
        tokens.append(state.tokens)
    whole = sums.tolist()
    return Trace(item.label, item.family, logits, tokens, model.novelty(whole, features), model.strangeness(whole))


def observations(traces: Sequence[Trace], *, whole: bool) -> Observations:
    """All of the traces' points, or only the last ones."""
    points = [(t.logits[i], t.tokens[i], t.label) for t in traces for i in ([-1] if whole else range(len(t.tokens)))]
    logits, tokens, labels = zip(*points, strict=True)
    return Observations(np.array(logits), np.array(tokens), np.array(labels))


def calibrate(
    model: Collapsed,
    known: Sequence[Trace],
    inside: Sequence[Trace],
    strangers: Sequence[Trace],
    written: Set[str] = frozenset(),
) -> tuple[Calibration, Thresholds]:
    """What goes with a model, from traces of texts left out.

    Probabilities are those of texts like the ones that were fitted on, `inside`; thresholds hold for all `known`.
    The test for strangers tells `strangers`, which belong to no route, from `inside`: by the same models, since what
    is new to a model depends on how much it has seen. Families that were `written` for this purpose do not count there,
    since they have questions about everything; early decisions are fitted on them, since they are as people write.
    """
    every = observations(inside, whole=False)
    importance = np.concatenate([np.full(len(t.tokens), 1 / len(t.tokens)) for t in inside]) / len(inside)
    temperature = fit_temperature(every, importance)
    calibration = Calibration(temperature)
    if strangers:
        others = [trace for trace in inside if trace.family not in written]
        sides = (stranger_features(whole_scores(calibration, traces)) for traces in (others, strangers))
        first, second, third, fourth, fifth = fit_stranger_test(*sides).tolist()
        calibration = Calibration(temperature, (first, second, third, fourth, fifth))
    limit = float(np.quantile([s.out_of_domain for s in whole_scores(calibration, inside)], KEPT))
    whole = observations(known, whole=True)
    found = route_thresholds(whole.probabilities(temperature), whole.labels, len(model.routes))
    long = [trace for trace in inside if trace.family in written and trace.tokens[-1] >= LONG_TOKENS]
    labels = Counter(trace.label for trace in long)
    shares = [1 / labels[trace.label] for trace in long]  # each domain counts the same, however many it has
    beginnings = [stable_points(trace, temperature) for trace in long]
    agreement = fit_agreement(beginnings, shares, model.routes)
    early = early_threshold(passings(beginnings, agreement, model.routes), shares)
    return calibration, Thresholds(dict(zip(model.routes, found, strict=True)), agreement, early, limit)


KEPT = 0.97
"""Share of the texts that belong to a route which the test for strangers lets through."""


def whole_scores(calibration: Calibration, traces: Sequence[Trace]) -> list[Scores]:
    """The scores of each trace's whole text."""
    return [scored(t.logits[-1], t.novelty, t.strangeness, t.tokens[-1], calibration) for t in traces]


def stable_points(trace: Trace, temperature: tuple[float, float]) -> list[Point]:
    """Where, early in the text, the same route was best twice in a row."""
    probabilities = observations([trace], whole=False).probabilities(temperature)
    best, stable, found = probabilities.argmax(1).tolist(), 0, []
    for i, tokens in enumerate(trace.tokens[:-1]):
        stable = stable + 1 if i and best[i] == best[i - 1] else 1
        if stable >= STABLE_CHUNKS and FEWEST_TOKENS <= tokens <= EARLY_SHARE * trace.tokens[-1]:
            found.append(Point(best[i], tuple(probabilities[i].tolist()), tokens, best[i] == best[-1]))
    return found
