"""From sums over a text to probabilities: the collapsed table with what was fitted beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from app.routing.features import ROWS

Table = NDArray[np.int8]

EXTRA = 3
"""Columns of the table after those of the routes: the squared weight in `MASS_UNIT`s, how far the row speaks for a text
that belongs to no route, and, last, 1 if the row was never seen in fitting."""
UNSEEN = -1
MASS_UNIT = 0.01


class History(msgspec.Struct, frozen=True):
    """How much of what was said before counts with what is said now: `share` of it, and no more than `mass`.

    Without the second limit, a long text would outweigh a short one about something else that comes after it.
    """

    share: float = 0.5
    mass: float = 4000.0

    def factor(self, mass: float) -> float:
        """What sums of this mass are multiplied by."""
        return min(self.share, self.mass / mass) if mass > 0 else 0.0


class Calibration(msgspec.Struct, frozen=True):
    """What turns scores into probabilities. `temperature` is t0 and t1 of T(m) = t0 + t1 / sqrt(m + 1).

    `out_of_domain` are the intercept and the weights of 1 - max p, novelty, energy and strangeness.
    """

    temperature: tuple[float, float] = (1.0, 0.0)
    out_of_domain: tuple[float, float, float, float, float] = (-20.0, 0.0, 0.0, 0.0, 0.0)
    history: History = History()


class Scores(msgspec.Struct, frozen=True):
    """Probability per route, in the model's order, and of the text belonging to none of them, with what that rests on.

    `novelty` is the share of features that were never seen in fitting, `energy` is -T logsumexp(z / T), `strangeness`
    the score of belonging to no route.
    """

    probabilities: tuple[float, ...]
    out_of_domain: float
    novelty: float
    energy: float
    strangeness: float = 0.0

    @property
    def best(self) -> int:
        """The place of the most probable route."""
        return self.probabilities.index(max(self.probabilities))

    @property
    def confidence(self) -> float:
        """The probability of the most probable route."""
        return max(self.probabilities)

    def with_evidence(self, log_odds: Sequence[float]) -> Scores:
        """The same with so much added to the logarithm of each route's odds."""
        shares = [math.log(max(p, 1e-12)) + extra for p, extra in zip(self.probabilities, log_odds, strict=True)]
        return msgspec.structs.replace(self, probabilities=tuple(softmax(shares)[0]))


class Collapsed(msgspec.Struct, frozen=True):
    """A fitted router: `table[ROWS, routes + EXTRA]`, in units of `scale`, and a bias per route."""

    routes: tuple[str, ...]
    table: Table
    scale: float
    bias: tuple[float, ...]
    calibration: Calibration = Calibration()

    def __post_init__(self) -> None:
        width = len(self.routes) + EXTRA
        if self.table.shape != (ROWS, width) or self.table.dtype != np.int8:
            raise ValueError(f"the table must be int8 [{ROWS}, {width}], not {self.table.dtype} {self.table.shape}")
        if len(self.bias) != len(self.routes) or not self.routes or len(set(self.routes)) < len(self.routes):
            raise ValueError("every route needs one bias and a name of its own")

    @property
    def history(self) -> History:
        """How much counts what was said before."""
        return self.calibration.history

    def logits(self, sums: Sequence[float]) -> list[float]:
        """z per route for `sums[routes + EXTRA]` of the table's rows over a text."""
        factor = self.factor(sums[len(self.routes)])
        return [bias + factor * value for bias, value in zip(self.bias, sums, strict=False)]

    def factor(self, mass: float) -> float:
        """What a sum of the table is multiplied by in a text of this mass, the sum of the column of squared weights."""
        return self.scale / root(mass)

    def mass(self, sums: Sequence[float]) -> float:
        """The sum of squared weights, in `MASS_UNIT`s."""
        return sums[len(self.routes)]

    def leaning(self, sums: Sequence[float], route: str) -> float:
        """What `sums` add to the route's score beyond the mean over all routes, times the root of the text's mass."""
        width = len(self.routes)
        return (sums[self.routes.index(route)] - sum(sums[:width]) / width) * self.scale

    def novelty(self, sums: Sequence[float], features: float) -> float:
        """The share of so many features that were never seen in fitting."""
        return sums[UNSEEN] / features if features else 1.0

    def strangeness(self, sums: Sequence[float]) -> float:
        """The score of belonging to no route."""
        return self.factor(self.mass(sums)) * sums[len(self.routes) + 1]

    def scores(self, sums: Sequence[float], features: float, tokens: float) -> Scores:
        """Probabilities for `sums` over so many features and tokens."""
        strange = (self.novelty(sums, features), self.strangeness(sums))
        return scored(self.logits(sums), *strange, tokens, self.calibration)


def scored(z: Sequence[float], novelty: float, strangeness: float, tokens: float, calibration: Calibration) -> Scores:
    """Probabilities for the scores of a text of so many tokens."""
    temperature = temperature_at(calibration.temperature, tokens)
    probabilities, log_sum = softmax([value / temperature for value in z])
    energy = -temperature * log_sum
    intercept, *weights = calibration.out_of_domain
    features = (1 - max(probabilities), novelty, energy, strangeness)
    foreign = sigmoid(intercept + sum(w * x for w, x in zip(weights, features, strict=True)))
    return Scores(tuple(probabilities), foreign, novelty, energy, strangeness)


class Model(Protocol):
    """What a router asks of its model; `table[ROWS, …]` is int8, and `sums` are those of its rows over a text."""

    @property
    def routes(self) -> tuple[str, ...]:
        """Their names."""
        ...

    @property
    def table(self) -> Table:
        """The rows to add up."""
        ...

    @property
    def history(self) -> History:
        """How much counts what was said before."""
        ...

    def scores(self, sums: Sequence[float], features: float, tokens: float) -> Scores:
        """Probabilities for `sums` over so many features and tokens."""
        ...

    def mass(self, sums: Sequence[float]) -> float:
        """The sum of squared weights, in `MASS_UNIT`s."""
        ...

    def leaning(self, sums: Sequence[float], route: str) -> float:
        """What `sums` add to the route's score beyond the mean over all routes, times the root of the text's mass."""
        ...


def root(mass: float) -> float:
    """The root of the sum of squared weights, which scores are divided by."""
    return math.sqrt(max(mass * MASS_UNIT, 1e-6))


def sigmoid(z: float) -> float:
    """The logistic function."""
    return 1 / (1 + math.exp(-max(-700.0, min(z, 700.0))))


def softmax(logits: Sequence[float]) -> tuple[list[float], float]:
    """Probabilities, and the logarithm of the sum of exponentials."""
    most = max(logits)
    exponentials = [math.exp(z - most) for z in logits]
    total = sum(exponentials)
    return [value / total for value in exponentials], most + math.log(total)


def temperature_at(temperature: tuple[float, float], tokens: float) -> float:
    """T(m), kept away from zero."""
    return max(temperature[0] + temperature[1] / math.sqrt(tokens + 1), 0.05)


def collapsed(
    rows: NDArray[np.float32],
    weights: NDArray[np.float32],
    seen: NDArray[np.bool_],
    strange: NDArray[np.float32] | None = None,
) -> tuple[Table, float]:
    """The table and its scale, of weighted scores per row [ROWS, routes], weights [ROWS] and whether a row was seen.

    `strange[ROWS]` are weighted too, and are kept in units of their own.
    """
    table = np.zeros((ROWS, rows.shape[1] + EXTRA), np.int8)
    table[:, :-EXTRA], scale = int8_steps(rows)
    table[:, -EXTRA] = np.clip(np.rint(weights**2 / MASS_UNIT), 1, 127)
    if strange is not None:
        table[:, -EXTRA + 1], _ = int8_steps(strange)
    table[:, UNSEEN] = ~seen
    return table, scale


def int8_steps(values: NDArray[np.float32]) -> tuple[Table, float]:
    """The numbers in int8, and the unit. A few of the largest are cut, so that the others have finer steps."""
    size = np.abs(values[values != 0])
    scale = max(float(np.quantile(size, 0.9999)) if size.size else 0.0, 1e-9) / 127
    return np.clip(np.rint(values / scale), -127, 127).astype(np.int8), scale
