"""What is measured and what is aimed at, as values; ratios between servers, with their spread over the turns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Literal

Figures = Mapping[str, float]
"""What one server did in one turn, by the figure's name."""
Samples = Mapping[str, Sequence[Figures]]
"""By server, the figures of each turn."""


@dataclass(frozen=True)
class Aim:
    """A bound for a ratio to `against` (the best of these servers), or for the figure itself where that is empty."""

    limit: float
    against: tuple[str, ...] = ()
    at_least: bool = True

    def met_by(self, value: float) -> bool:
        """Whether the value keeps the bound."""
        return value >= self.limit if self.at_least else value <= self.limit

    def __str__(self) -> str:
        return f"aim {'≥' if self.at_least else '≤'} {self.limit:g}"


@dataclass(frozen=True)
class Figure:
    """One line of the table. Ratios are formed for `aims`, and beside them `against` the servers named here."""

    name: str
    unit: str
    better: Literal["more", "less"]
    aims: tuple[Aim, ...] = ()
    against: tuple[tuple[str, ...], ...] = field(default=())

    @property
    def comparisons(self) -> list[tuple[tuple[str, ...], Aim | None]]:
        """The servers to compare with, and what is aimed at."""
        return [*((aim.against, aim) for aim in self.aims), *((servers, None) for servers in self.against)]


@dataclass(frozen=True)
class Ratio:
    """How ours compares, turn by turn; above 1 is better for ours. With no `against` it is the figure itself."""

    against: str
    values: tuple[float, ...]
    aim: Aim | None

    @property
    def median(self) -> float:
        """The middle of the turns."""
        return median(self.values)

    @property
    def met(self) -> bool | None:
        """Whether the aim is met, if there is one."""
        return self.aim.met_by(self.median) if self.aim else None

    @property
    def spread(self) -> tuple[float, float]:
        """Lowest and highest turn."""
        return min(self.values), max(self.values)


def ratios(figure: Figure, samples: Samples, ours: str) -> list[Ratio]:
    """The comparisons of one figure for which there are samples of both sides."""
    return [
        Ratio(name, values, aim)
        for against, aim in figure.comparisons
        for name, values in [_ratio(figure, samples, ours, against)]
        if values
    ]


def middle(figure: str, turns: Sequence[Figures]) -> float | None:
    """The median of a figure over the turns, if it was measured."""
    values = [turn[figure] for turn in turns if figure in turn]
    return median(values) if values else None


def quantile(values: Sequence[float], share: float) -> float:
    """The value that `share` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def rotated(names: Sequence[str], turn: int) -> list[str]:
    """The names in the order of that turn: everybody is first once, so that nobody has the quietest moment always."""
    start = turn % len(names)
    return [*names[start:], *names[:start]]


def _ratio(figure: Figure, samples: Samples, ours: str, against: Sequence[str]) -> tuple[str, tuple[float, ...]]:
    mine = samples.get(ours, ())
    if not against:
        return "", tuple(turn[figure.name] for turn in mine if figure.name in turn)
    best = _best(figure, samples, against)
    pairs = zip(mine, samples.get(best, ()), strict=False)
    both = [(turn[figure.name], other[figure.name]) for turn, other in pairs if {figure.name} <= turn.keys() & other]
    return best, tuple(_oriented(figure, value, other) for value, other in both if value and other)


def _best(figure: Figure, samples: Samples, names: Sequence[str]) -> str:
    """The server with the best median: a peer is compared with the flags that suit it best here."""
    known = {name: value for name in names if (value := middle(figure.name, samples.get(name, ()))) is not None}
    if not known:
        return ""
    return (max if figure.better == "more" else min)(known, key=lambda name: known[name])


def _oriented(figure: Figure, ours: float, theirs: float) -> float:
    return ours / theirs if figure.better == "more" else theirs / ours
