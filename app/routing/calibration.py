"""What is fitted on predictions for texts that were left out: temperature, the test for strangers, thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.routing.decisions import PRECISIONS, least_confidence
from app.routing.features import Ids
from app.routing.regression import Doubles, logistic
from app.routing.scoring import Scores

_BINS = 10


@dataclass(frozen=True, slots=True)
class Observations:
    """Scores of texts, or of beginnings, by a head that was not fitted on them: `logits[n, routes]`, `tokens[n]`."""

    logits: Doubles
    tokens: Ids
    labels: Ids

    def probabilities(self, temperature: tuple[float, float]) -> Doubles:
        """Calibrated, [n, routes]."""
        divisor = np.maximum(temperature[0] + temperature[1] / np.sqrt(self.tokens + 1), 0.05)
        z = self.logits / divisor[:, None]
        powers = np.exp(z - z.max(1, keepdims=True))
        return np.asarray(powers / powers.sum(1, keepdims=True))


def fit_temperature(observed: Observations, importance: Doubles) -> tuple[float, float]:
    """t0 and t1 of T(m) by likelihood: a grid, refined three times."""
    centre, span = (1.0, 1.0), (1.0, 4.0)
    here = np.arange(len(observed.labels))
    for _ in range(4):
        options = [
            (max(centre[0] + a * span[0], 0.05), centre[1] + b * span[1])
            for a in np.linspace(-1, 1, 9)
            for b in np.linspace(-1, 1, 9)
        ]
        losses = [
            -float(importance @ np.log(np.maximum(observed.probabilities(option)[here, observed.labels], 1e-9)))
            for option in options
        ]
        centre = options[int(np.argmin(losses))]
        span = (span[0] / 4, span[1] / 4)
    return float(centre[0]), float(centre[1])


def fit_stranger_test(inside: Doubles, outside: Doubles) -> Doubles:
    """Intercept and weights for the `stranger_features` of texts; both sides weigh the same."""
    sizes = [len(inside), len(outside)]
    target, weight = np.repeat([0.0, 1.0], sizes), np.repeat([0.5 / len(inside), 0.5 / len(outside)], sizes)
    return logistic(np.concatenate([inside, outside]), target, weight)


def stranger_features(scores: Sequence[Scores]) -> Doubles:
    """1 - max p, novelty, energy and strangeness, [n, 4]."""
    return np.array([[1 - found.confidence, found.novelty, found.energy, found.strangeness] for found in scores])


def route_thresholds(probabilities: Doubles, labels: Ids, routes: int) -> list[tuple[float, ...]]:
    """Per route, the least confidence for each of `PRECISIONS`; where none is enough, `NEVER`.

    A route with fewer than 20 predictions has the precision itself as its threshold.
    """
    best, confidence = probabilities.argmax(1), probabilities.max(1)
    found = []
    for route in range(routes):
        mine = best == route
        right = labels[mine] == route
        if mine.sum() < 20:
            found.append(PRECISIONS)
            continue
        pairs = confidence[mine].tolist(), right.tolist()
        found.append(tuple(least_confidence(*pairs, precision) for precision in PRECISIONS))
    return found


def calibration_error(confidence: Doubles, right: NDArray[np.bool_]) -> float:
    """The expected calibration error: the mean distance of confidence and accuracy over ten bins of equal width."""
    if not len(confidence):
        return 0.0
    places = np.minimum((confidence * _BINS).astype(np.int64), _BINS - 1)
    gaps = [abs(float(confidence[places == place].sum() - right[places == place].sum())) for place in np.unique(places)]
    return sum(gaps) / len(confidence)


def auroc(positive: Doubles, negative: Doubles) -> float:
    """The probability that a positive scores above a negative; ties count half."""
    ordered = np.sort(negative)
    below = np.searchsorted(ordered, positive, side="left")
    not_above = np.searchsorted(ordered, positive, side="right")
    return float((below + not_above).sum()) / (2 * len(positive) * len(negative))
