"""How well a router does on labelled texts: figures, and the table that `./run.sh route eval` prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from app.routing.calibration import auroc, calibration_error
from app.routing.decisions import Decision
from app.routing.passages import EARLY_SHARE
from app.routing.recipe import CHUNK_TOKENS, LONG_TOKENS
from app.routing.router import IncrementalSemanticRouter
from app.routing.timeline import timeline

STRANGER = "oos"
"""The label of texts that belong to no route."""
LENGTHS = (8, 16, 32, 64, 128)
_MISSES_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Judged:
    """A text, its label, and the decisions after each chunk; the last is that on the whole text."""

    text: str
    label: str
    steps: list[Decision]

    @property
    def whole(self) -> Decision:
        """The decision on the whole text."""
        return self.steps[-1]

    @property
    def right(self) -> bool:
        """Whether the most probable route is the label."""
        return self.whole.best == self.label


@dataclass(frozen=True, slots=True)
class Early:
    """Shares of all long prompts: decided early; of these, as the whole decides; of all, work begun in vain."""

    prompts: int
    decided: float
    agreement: float
    wasted: float


def judge(router: IncrementalSemanticRouter, texts: Sequence[tuple[str, str]]) -> list[Judged]:
    """Route texts with their labels, in chunks of `CHUNK_TOKENS`."""
    return [Judged(text, label, timeline(router, text, CHUNK_TOKENS)) for text, label in texts]


def known(judged: Sequence[Judged]) -> list[Judged]:
    """Those that belong to a route."""
    return [item for item in judged if item.label != STRANGER]


def accuracy(judged: Sequence[Judged]) -> float:
    """Share of texts whose most probable route is the label."""
    return float(np.mean([item.right for item in judged])) if judged else 0.0


def macro_recall(judged: Sequence[Judged]) -> float:
    """The mean of the labels' recalls."""
    labels = sorted({item.label for item in judged})
    return float(np.mean([accuracy([item for item in judged if item.label == label]) for label in labels]))


def answered(judged: Sequence[Judged]) -> tuple[float, float]:
    """Precision where the router answers, and the share of texts that it answers."""
    found = [item for item in judged if item.whole.route is not None]
    return accuracy(found), len(found) / max(len(judged), 1)


def error_by_length(judged: Sequence[Judged]) -> Iterator[tuple[str, int, float]]:
    """Of the decisions on beginnings of some length, and on whole texts: their number and calibration error."""
    edges = [*LENGTHS, 10**9]
    for begin, end in zip(edges, edges[1:], strict=False):
        points = [(s, item) for item in judged for s in item.steps[:-1] if begin <= s.tokens < end]
        yield f"{begin} tokens and more", len(points), _error([(s.confidence, s.best == i.label) for s, i in points])
    whole = [(item.whole.confidence, item.right) for item in judged]
    yield "whole text", len(whole), _error(whole)


def _error(points: Sequence[tuple[float, bool]]) -> float:
    return calibration_error(np.array([c for c, _ in points]), np.array([right for _, right in points], np.bool_))


def stranger_auroc(judged: Sequence[Judged], inside: str | None = None) -> float | None:
    """How well the out-of-domain score tells strangers from the texts of `inside`, or from all; 1 is best."""
    strangers = [item.whole.out_of_domain for item in judged if item.label == STRANGER]
    others = [item.whole.out_of_domain for item in known(judged) if inside in (None, item.label)]
    return auroc(np.array(strangers), np.array(others)) if strangers and others else None


def early(judged: Sequence[Judged], share: float = EARLY_SHARE) -> Early:
    """Early decisions on prompts of at least `LONG_TOKENS`, within the first `share` of the prompt's tokens."""
    long = [item for item in judged if item.whole.tokens >= LONG_TOKENS]
    first = [
        next((s for s in item.steps[:-1] if s.can_route and s.tokens <= share * item.whole.tokens), None)
        for item in long
    ]
    decided = [(item, step) for item, step in zip(long, first, strict=True) if step is not None]
    agreeing = sum(step.best == item.whole.best for item, step in decided)
    count = max(len(long), 1)
    return Early(len(long), len(decided) / count, agreeing / max(len(decided), 1), (len(decided) - agreeing) / count)


def naive_early(judged: Sequence[Judged]) -> Early:
    """The naive rule on the same prompts: confidence grows with each chunk, by a fifth; commit at 0.7."""
    long = [item for item in judged if item.whole.tokens >= LONG_TOKENS]
    agreeing = decided = 0
    for item in long:
        for number, step in enumerate(item.steps[:-1], 1):
            if min(1.0, step.confidence + 0.2 * number) >= 0.7:
                decided += step.tokens <= EARLY_SHARE * item.whole.tokens
                agreeing += step.best == item.whole.best and step.tokens <= EARLY_SHARE * item.whole.tokens
                break
    count = max(len(long), 1)
    return Early(len(long), decided / count, agreeing / max(decided, 1), (decided - agreeing) / count)


def report(router: IncrementalSemanticRouter, texts: Sequence[tuple[str, str]]) -> Iterator[str]:
    """All figures, line by line."""
    judged = judge(router, texts)
    inside = known(judged)
    precision, coverage = answered(inside)
    yield f"{len(inside)} texts of routes, {len(judged) - len(inside)} of none"
    yield (
        f"accuracy {accuracy(inside):.3f}, macro recall {macro_recall(inside):.3f}" if inside else "no text of a route"
    )
    yield f"precision where it answers {precision:.3f} (asked for {router.precision:.2f}), coverage {coverage:.3f}"
    if (found := stranger_auroc(judged)) is not None:
        yield f"out-of-domain AUROC {found:.3f}"
    yield "\ncalibration error by length:"
    yield from (f"  {name:22}{count:7}{error:8.3f}" for name, count, error in error_by_length(inside))
    now = early(inside)
    yield (
        f"\nearly decisions, {now.prompts} prompts of {LONG_TOKENS} tokens and more: {now.decided:.0%} within "
        f"{EARLY_SHARE:.0%} of the prompt, agreement {now.agreement:.3f}, in vain {now.wasted:.1%}"
    )
    yield from _confusion(inside)
    missed = [item for item in inside if not item.right]
    yield f"\n{len(missed)} missed" + (f", of which {_MISSES_SHOWN}:" if len(missed) > _MISSES_SHOWN else ":")
    yield from (f"  {i.label} as {i.whole.best} ({i.whole.confidence:.2f}): {i.text[:80]!r}" for i in missed[:20])


def _confusion(judged: Sequence[Judged]) -> Iterator[str]:
    """Per label: recall, and what else it was taken for."""
    yield "\nrecall, and what was found instead:"
    for label in sorted({item.label for item in judged}):
        mine = [item for item in judged if item.label == label]
        wrong = Counter(item.whole.best for item in mine if not item.right)
        others = ", ".join(f"{route} {count}" for route, count in wrong.most_common(4))
        yield f"  {label:14}{len(mine):6}{accuracy(mine):7.3f}  {others}"
