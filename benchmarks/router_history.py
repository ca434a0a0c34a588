"""How much of what was said before should count: `python -m benchmarks.router_history`.

For the conversations of `models/router/packs/turns.jsonl`, and the same with long texts before the last one: the mean
of -log p of the right route, and how often that is the best, where the topic stays and where it changes, for several
limits of `app.routing.scoring.History`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from app.routing import built_in
from app.routing.router import IncrementalSemanticRouter
from app.routing.scoring import History
from app.routing.weights import Weights
from benchmarks.router_data import PACKS, ROUTES, early_prompts

SHARES = (0.0, 0.1, 0.3, 0.5, 0.7, 1.0)
MASSES = (500.0, 2000.0, 3000.0, 4000.0, 6000.0, 1e9)


class Turn(msgspec.Struct):
    """What was said, what is said now, and whose that is."""

    before: str
    text: str
    domain: str
    stays: bool


class Figures(NamedTuple):
    """Mean of -log p, and shares of right routes where the topic stays and where it changes."""

    loss: float
    stays: float
    changes: float


def main() -> None:
    """Print the table."""
    turns = [*conversations(), *with_long_pasts(list(conversations()))]
    print(f"{len(turns)} turns: -log p, right where the topic stays / changes; across: mass, down: share")
    print(f"{'':6}" + "".join(f"{mass:>20g}" for mass in MASSES))
    for share in SHARES:
        cells = [figures(router_with(History(share, mass)), turns) for mass in MASSES]
        print(f"{share:<6}" + "".join(f"{c.loss:10.3f} {c.stays:.2f}/{c.changes:.2f}" for c in cells))


def conversations() -> Iterator[Turn]:
    """Those of the file."""
    for line in (PACKS / "turns.jsonl").read_bytes().splitlines():
        yield msgspec.json.decode(line, type=Turn)


def with_long_pasts(turns: Sequence[Turn]) -> Iterator[Turn]:
    """The same after a long prompt: of the same domain where the topic stays, of the next one where it changes."""
    prompts = early_prompts()
    for number, turn in enumerate(turns):
        domain = (ROUTES.index(turn.domain) + (not turn.stays)) % len(ROUTES)
        long = [prompt.text for prompt in prompts if prompt.label == domain]
        yield Turn(long[number % len(long)], turn.text, turn.domain, turn.stays)


def router_with(history: History) -> IncrementalSemanticRouter:
    """The router that ships, with other limits."""
    shipped = built_in()
    calibration = msgspec.structs.replace(shipped.model.calibration, history=history)
    model = msgspec.structs.replace(shipped.model, calibration=calibration)
    return IncrementalSemanticRouter(Weights(model, shipped.thresholds), {})


def figures(router: IncrementalSemanticRouter, turns: Sequence[Turn]) -> Figures:
    """How the router does on the last texts, given the ones before."""
    found = [router.route(turn.text, [turn.before]) for turn in turns]
    loss = sum(-math.log(max(d.probabilities[t.domain], 1e-9)) for d, t in zip(found, turns, strict=True))
    shares = [
        [d.best == t.domain for d, t in zip(found, turns, strict=True) if t.stays is stays] for stays in (True, False)
    ]
    stays, changes = (sum(share) / max(len(share), 1) for share in shares)
    return Figures(loss / len(turns), stays, changes)


if __name__ == "__main__":
    main()
