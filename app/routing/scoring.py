"""From sums over a text to probabilities: the collapsed table with what was fitted beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from app.routing.features import ROWS

Table = NDArray[np.int8]

EXTRA = 3
"""Columns of the table after those of the routes: the squared weight in `MASS_UNIT`s, 1 if the row was never seen in
fitting, and how far the row speaks for a text that belongs to no route."""
MASS_UNIT = 0.01


class Calibration(msgspec.Struct, frozen=True):
    """What turns scores into probabilities. `temperature` is t0 and t1 of T(m) = t0 + t1 / sqrt(m + 1).

    `out_of_domain` are the intercept and the weights of 1 - max p, novelty, energy and strangeness.
    """

    temperature: tuple[float, float] = (1.0, 0.0)
    out_of_domain: tuple[float, float, float, float, float] = (-20.0, 0.0, 0.0, 0.0, 0.0)


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

    def novelty(self, sums: Sequence[int], features: int) -> float:
        """The share of so many features that were never seen in fitting."""
        return sums[len(self.routes) + 1] / features if features else 1.0

    def strangeness(self, sums: Sequence[int]) -> float:
        """The score of belonging to no route."""
        return self.factor(sums[len(self.routes)]) * sums[len(self.routes) + 2]

    def scores(self, sums: Sequence[int], features: int, tokens: int) -> Scores:
        """Probabilities for `sums` over so many features and tokens."""
        strange = (self.novelty(sums, features), self.strangeness(sums))
        return scored(self.logits(sums), *strange, tokens, self.calibration)


def scored(z: Sequence[float], novelty: float, strangeness: float, tokens: int, calibration: Calibration) -> Scores:
    """Probabilities for the scores of a text of so many tokens."""
    temperature = temperature_at(calibration.temperature, tokens)
    scaled = [value / temperature for value in z]
    most = max(scaled)
    exponentials = [math.exp(value - most) for value in scaled]
    total = sum(exponentials)
    energy = -temperature * (most + math.log(total))
    intercept, *weights = calibration.out_of_domain
    features = (1 - 1 / total, novelty, energy, strangeness)
    out = intercept + sum(w * x for w, x in zip(weights, features, strict=True))
    foreign = 1 / (1 + math.exp(-max(-700.0, min(out, 700.0))))
    return Scores(tuple(value / total for value in exponentials), foreign, novelty, energy, strangeness)


def temperature_at(temperature: tuple[float, float], tokens: int) -> float:
    """T(m), kept away from zero."""
    return max(temperature[0] + temperature[1] / math.sqrt(tokens + 1), 0.05)


def collapsed(
    rows: NDArray[np.float32],
    weights: NDArray[np.float32],
    seen: NDArray[np.bool_],
    strange: NDArray[np.float32] | None = None,
) -> tuple[Table, float]:
    """The table and its scale, of weighted scores per row [ROWS, routes], weights [ROWS] and whether a row was seen.

    `strange[ROWS]` are weighted too, and are kept in units of their own. A few of the largest scores are cut, so that
    the others have finer steps.
    """
    table = np.zeros((ROWS, rows.shape[1] + EXTRA), np.int8)
    table[:, :-EXTRA], scale = _in_bytes(rows)
    table[:, -3] = np.clip(np.rint(weights**2 / MASS_UNIT), 1, 127)
    table[:, -2] = ~seen
    if strange is not None:
        table[:, -1], _ = _in_bytes(strange)
    return table, scale


def _in_bytes(values: NDArray[np.float32]) -> tuple[Table, float]:
    size = np.abs(values[values != 0])
    scale = max(float(np.quantile(size, 0.9999)) if size.size else 0.0, 1e-9) / 127
    return np.clip(np.rint(values / scale), -127, 127).astype(np.int8), scale
