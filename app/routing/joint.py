"""The built-in domains and users' own routes in one table: first whose text it is, then which of theirs.

Own routes have a head of their own, with one more output for what belongs to none of them. Its probability is shared
out among the built-in domains as their own head says, so that their calibration stays what it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import msgspec
import numpy as np

from app.routing.decisions import Thresholds
from app.routing.features import ROWS
from app.routing.scoring import Collapsed, History, Scores, Table, root, sigmoid, softmax
from app.routing.weights import Weights


class OwnHead(msgspec.Struct, frozen=True):
    """A head over `names` and, last, none of them: `table[ROWS, names + 1]` in units of `scale`, a bias per output.

    `none` are intercept and slope of the probability that it is none of them, by how much that scores above the best.
    `accuracy` is the share of right answers among the examples, each by a head that had not seen it.
    """

    names: tuple[str, ...]
    table: Table
    scale: float
    bias: tuple[float, ...]
    temperature: float = 1.0
    none: tuple[float, float] = (0.0, 1.0)
    by_route: dict[str, tuple[float, ...]] = {}
    accuracy: float = 0.0

    def __post_init__(self) -> None:
        width = len(self.names) + 1
        if self.table.shape != (ROWS, width) or self.table.dtype != np.int8 or len(self.bias) != width:
            raise ValueError(f"the table must be int8 [{ROWS}, {width}] with {width} biases")

    def probabilities(self, sums: Sequence[float], mass: float) -> list[float]:
        """Calibrated, per output, for `sums[names + 1]` of the table's rows over a text of this mass."""
        factor = self.scale / root(mass)
        return self.shares([bias + factor * value for bias, value in zip(self.bias, sums, strict=True)])

    def shares(self, scores: Sequence[float]) -> list[float]:
        """The probabilities that scores per output mean."""
        *mine, none = scores
        intercept, slope = self.none
        elsewhere = sigmoid(intercept + slope * (none - max(mine)))
        return [*((1 - elsewhere) * p for p in softmax([z / self.temperature for z in mine])[0]), elsewhere]


class Joint:
    """A model whose routes are those of `base` and then those of `own`; fulfils what a router asks of `Collapsed`."""

    def __init__(self, base: Collapsed, own: OwnHead) -> None:
        if taken := set(base.routes) & set(own.names):
            raise ValueError(f"routes are called like built-in domains: {', '.join(sorted(taken))}")
        self.base, self.own = base, own
        self.routes = (*base.routes, *own.names)
        self._begin, self._end = len(base.routes), len(self.routes) + 1

    @property
    def history(self) -> History:
        """How much counts what was said before."""
        return self.base.history

    @cached_property
    def table(self) -> Table:
        """int8 [ROWS, …]: the columns of the built-in routes, of the own ones, and what comes last in `base`."""
        columns = (self.base.table[:, : self._begin], self.own.table, self.base.table[:, self._begin :])
        return np.ascontiguousarray(np.concatenate(columns, axis=1))

    def scores(self, sums: Sequence[float], features: float, tokens: float) -> Scores:
        """Probabilities for `sums` over so many features and tokens."""
        of_base = self._of_base(sums)
        found = self.base.scores(of_base, features, tokens)
        *mine, none = self.own.probabilities(sums[self._begin : self._end], self.base.mass(of_base))
        shared = (*(none * p for p in found.probabilities), *mine)
        return msgspec.structs.replace(found, probabilities=shared, out_of_domain=none * found.out_of_domain)

    def mass(self, sums: Sequence[float]) -> float:
        """The sum of squared weights, in `MASS_UNIT`s."""
        return self.base.mass(self._of_base(sums))

    def leaning(self, sums: Sequence[float], route: str) -> float:
        """What `sums` add to the route's score beyond its head's mean, times the root of the text's mass."""
        if route in self.base.routes:
            return self.base.leaning(self._of_base(sums), route)
        mine = sums[self._begin : self._end]
        return (mine[self.own.names.index(route)] - sum(mine) / len(mine)) * self.own.scale

    def _of_base(self, sums: Sequence[float]) -> Sequence[float]:
        return (*sums[: self._begin], *sums[self._end :])


class JointWeights(NamedTuple):
    """A joint model with the thresholds of all its routes."""

    model: Joint
    thresholds: Thresholds


def joined(base: Weights, own: OwnHead) -> JointWeights:
    """The built-in domains with users' own routes."""
    thresholds = msgspec.structs.replace(base.thresholds, by_route={**base.thresholds.by_route, **own.by_route})
    return JointWeights(Joint(base.model, own), thresholds)
