"""Sums of token vectors over many texts at once, and rows fitted so that the sums point where a teacher's do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
_TINY = 1e-9


class Schedule(NamedTuple):
    """How the rows are fitted: steps over all texts, how far each goes, and what keeps rare tokens near their place."""

    epochs: int
    rate: float
    floor: float


class Bags:
    """Texts as the tokens they have. `used` are the tokens, ascending, that rows are kept for here."""

    def __init__(self, ids: Sequence[Sequence[int]]) -> None:
        lengths = np.array([len(found) for found in ids])
        if not lengths.size or lengths.min() == 0:
            raise ValueError("every text needs a token")
        self.used, where = np.unique(np.concatenate([np.array(found) for found in ids]), return_inverse=True)
        self.counts: Ints = np.bincount(where)
        self._where = where
        self._starts = np.cumsum([0, *lengths[:-1]])
        order = np.argsort(where, kind="stable")
        self._texts = np.repeat(np.arange(len(ids)), lengths)[order]
        self._tokens = np.cumsum([0, *self.counts[:-1]])

    def sums(self, rows: Floats) -> Floats:
        """[texts, width]: what the rows of each text's tokens add up to; `rows[used, width]`."""
        return np.asarray(np.add.reduceat(rows[self._where], self._starts, axis=0))

    def gradients(self, of_sums: Floats) -> Floats:
        """[used, width]: from the gradients of the sums to those of the rows."""
        return np.asarray(np.add.reduceat(of_sums[self._texts], self._tokens, axis=0))


def fitted(rows: Floats, bags: Bags, teacher: Floats, schedule: Schedule) -> Floats:
    """The rows after gradient steps that turn each text's sum towards the teacher's vector of the text.

    Adam (Kingma and Ba, 2015) over all texts at once; `floor` keeps tokens that are hardly ever seen near their place.
    """
    rows = rows.copy()
    mean, square = np.zeros_like(rows), np.zeros_like(rows)
    for step in range(1, schedule.epochs + 1):
        gradient = bags.gradients(_turning(bags.sums(rows), teacher))
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.99 * square + 0.01 * gradient * gradient
        scale = np.sqrt(square / (1 - 0.99**step)) + schedule.floor
        rows -= np.float32(schedule.rate / (1 - 0.9**step)) * mean / scale
    return rows


def _turning(sums: Floats, teacher: Floats) -> Floats:
    """The gradient of minus the cosines, by the sums."""
    lengths = np.linalg.norm(sums, axis=1, keepdims=True) + _TINY
    unit = sums / lengths
    cosines = (unit * teacher).sum(1, keepdims=True)
    return np.asarray((cosines * unit - teacher) / lengths, np.float32)
