"""From sums over a text to probabilities: the collapsed table with what was fitted beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from app.routing.features import ROWS

Table = NDArray[np.int8]

EXTRA = 2
"""Columns of the table after those of the routes: the squared weight in `MASS_UNIT`s, and 1 if the row was never
seen in fitting."""
MASS_UNIT = 0.01


class Calibration(msgspec.Struct, frozen=True):
    """What turns scores into probabilities. `temperature` is t0 and t1 of T(m) = t0 + t1 / sqrt(m + 1).

    `out_of_domain` are the intercept and the weights of 1 - max p, novelty and energy.
    """

    temperature: tuple[float, float] = (1.0, 0.0)
    out_of_domain: tuple[float, float, float, float] = (-20.0, 0.0, 0.0, 0.0)


class Scores(msgspec.Struct, frozen=True):
    """Probability per route, in the model's order, and of the text belonging to none of them, with what that rests on.

    `novelty` is the share of features that were never seen in fitting, `energy` is -T logsumexp(z / T).
    """

    probabilities: tuple[float, ...]
    out_of_domain: float
    novelty: float
    energy: float

    @property
    def best(self) -> int:
        """The place of the most probable route."""
        return self.probabilities.index(max(self.probabilities))

    @property
    def confidence(self) -> float:
        """The probability of the most probable route."""
        return max(self.probabilities)


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

    def logits(self, sums: Sequence[int]) -> list[float]:
        """z per route for `sums[routes + EXTRA]` of the table's rows over a text."""
        factor = self.factor(sums[len(self.routes)])
        return [bias + factor * value for bias, value in zip(self.bias, sums, strict=False)]

    def factor(self, mass: int) -> float:
        """What a sum of the table is multiplied by in a text of this mass, the sum of the column of squared weights."""
        return self.scale / math.sqrt(max(mass * MASS_UNIT, 1e-6))

    def scores(self, sums: Sequence[int], features: int, tokens: int) -> Scores:
        """Probabilities for `sums` over so many features and tokens."""
        temperature = temperature_at(self.calibration.temperature, tokens)
        scaled = [z / temperature for z in self.logits(sums)]
        most = max(scaled)
        exponentials = [math.exp(z - most) for z in scaled]
        total = sum(exponentials)
        probabilities = tuple(value / total for value in exponentials)
        novelty = sums[len(self.routes) + 1] / features if features else 1.0
        energy = -temperature * (most + math.log(total))
        return Scores(probabilities, self._out_of_domain(max(probabilities), novelty, energy), novelty, energy)

    def _out_of_domain(self, confidence: float, novelty: float, energy: float) -> float:
        intercept, *weights = self.calibration.out_of_domain
        z = intercept + sum(w * x for w, x in zip(weights, (1 - confidence, novelty, energy), strict=True))
        return 1 / (1 + math.exp(-max(-700.0, min(z, 700.0))))


def temperature_at(temperature: tuple[float, float], tokens: int) -> float:
    """T(m), kept away from zero."""
    return max(temperature[0] + temperature[1] / math.sqrt(tokens + 1), 0.05)


def collapsed(rows: NDArray[np.float32], weights: NDArray[np.float32], seen: NDArray[np.bool_]) -> tuple[Table, float]:
    """The table and its scale, of weighted scores per row [ROWS, routes], weights [ROWS] and whether a row was seen.

    A few of the largest scores are cut, so that the others have finer steps.
    """
    size = np.abs(rows[rows != 0])
    scale = max(float(np.quantile(size, 0.9999)) if size.size else 0.0, 1e-9) / 127
    table = np.empty((ROWS, rows.shape[1] + EXTRA), np.int8)
    table[:, :-EXTRA] = np.clip(np.rint(rows / scale), -127, 127)
    table[:, -2] = np.clip(np.rint(weights**2 / MASS_UNIT), 1, 127)
    table[:, -1] = ~seen
    return table, scale
