"""The outcome, as one table for people and one JSON document for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.figures import Figure, Figures, Ratio, middle, ratios
from benchmarks.rows import Row

NOTHING = "–"
LEGEND = "Medians of the turns. A ratio above 1 is in favour of ours; in brackets its lowest and highest turn."


@dataclass
class Outcome:
    """What became of one row: the samples of each server, and why a server has none or ends early."""

    row: Row
    samples: dict[str, list[Figures]] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)


def table(outcomes: Sequence[Outcome], servers: Sequence[str]) -> str:
    """One line for each figure with the medians of all servers; ratios below it, each with its aim.

    A variant of ours has no column: where a row compares it with ours, its median stands before the ratio.
    """
    lines = [["load", "figure", *servers]]
    notes: dict[int, list[str]] = {}
    for outcome in outcomes:
        for number, figure in enumerate(outcome.row.figures):
            title = "" if number else outcome.row.title
            lines.append([title, f"{figure.name}, {figure.unit}", *(cell(outcome, figure, name) for name in servers)])
            ours = outcome.row.ours
            who = "" if ours in servers else f"{ours}: {cell(outcome, figure, ours)}, "
            notes[len(lines)] = [who + in_words(ratio) for ratio in ratios(figure, outcome.samples, ours)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    indent = " " * (widths[0] + 4)
    text = []
    for number, line in enumerate(lines, 1):
        text.append("  ".join([*map(str.ljust, line[:2], widths[:2]), *map(str.rjust, line[2:], widths[2:])]).rstrip())
        text += [f"{indent}{note}" for note in notes.get(number, ()) if note]
    return "\n".join([*text, "", LEGEND, *absences(outcomes)])


def cell(outcome: Outcome, figure: Figure, server: str) -> str:
    """The median of a figure on one server."""
    value = middle(figure.name, outcome.samples.get(server, ()))
    return NOTHING if value is None else number(value)


def number(value: float) -> str:
    """A figure with three digits, or all before the point."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:#.3g}".rstrip(".")


def in_words(ratio: Ratio) -> str:
    """A comparison with its spread, its aim and whether the aim is met."""
    low, high = ratio.spread
    spread = f" ({number(low)} to {number(high)})" if len(ratio.values) > 1 else ""
    if not ratio.against:
        return f"{ratio.aim}: {verdict(ratio)}{spread}"
    aim = f"; {ratio.aim}: {verdict(ratio)}" if ratio.aim else ""
    return f"{number(ratio.median)} × {ratio.against}{spread}{aim}"


def verdict(ratio: Ratio) -> str:
    """Whether the aim is met."""
    return "met" if ratio.met else "NOT MET"


def absences(outcomes: Sequence[Outcome]) -> list[str]:
    """One line for each server that a row lacks, and why; the same reason is given once."""
    by_reason: dict[tuple[str, str], list[str]] = {}
    for outcome in outcomes:
        for server, reason in outcome.reasons.items():
            by_reason.setdefault((server, reason), []).append(outcome.row.title)
    lines = [f"{server} not available ({'; '.join(rows)}): {why}" for (server, why), rows in by_reason.items()]
    return lines


def document(outcomes: Sequence[Outcome], **facts: Any) -> dict[str, Any]:
    """All samples, ratios and reasons, for JSON."""
    return facts | {"rows": [_row(outcome) for outcome in outcomes]}


def _row(outcome: Outcome) -> dict[str, Any]:
    return {
        "row": outcome.row.key,
        "title": outcome.row.title,
        "samples": outcome.samples,
        "not_available": outcome.reasons,
        "comparisons": [
            _comparison(figure, ratio)
            for figure in outcome.row.figures
            for ratio in ratios(figure, outcome.samples, outcome.row.ours)
        ],
    }


def _comparison(figure: Figure, ratio: Ratio) -> dict[str, Any]:
    return {
        "figure": figure.name,
        "against": ratio.against or None,
        "values": ratio.values,
        "median": ratio.median,
        "aim": str(ratio.aim) if ratio.aim else None,
        "met": ratio.met,
    }
