"""What `./run.sh route` prints: the decision on a text, or how well the router does on a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from app.routing import built_in
from app.routing.evaluation import report
from app.routing.explaining import contributions, strongest

_NO_EXPERT = "(the default expert)"


class Line(msgspec.Struct):
    """A labelled text of a file; `oos` is the domain of what belongs to no route."""

    text: str
    domain: str


def explained(text: str, precision: float) -> Iterator[str]:
    """The decision on a text, its probabilities, and the words that speak for and against it."""
    router = built_in(precision, _NO_EXPERT)
    found = router.route(text)
    yield f"route          {found.route or f'none; the nearest is {found.best}'}  ({found.reason})"
    yield f"confidence     {found.confidence:.3f}, at least {found.threshold:.3f} is needed"
    yield f"out of domain  {found.out_of_domain:.3f}"
    ordered = sorted(found.probabilities.items(), key=lambda item: -item[1])
    yield "probabilities  " + ", ".join(f"{route} {p:.3f}" for route, p in ordered)
    for name, side in zip(
        ("for", "against"), strongest(contributions(router.weights.model, text, found.best)), strict=True
    ):
        yield f"{name:15}" + ", ".join(f"{token!r} {weight:+.2f}" for token, weight in side)


def evaluated(path: Path, precision: float) -> Iterator[str]:
    """The figures for a file of JSON lines with `text` and `domain`.

    Raises:
        OSError: the file cannot be read.
        ValueError: a line is not of that shape, or there is none.
    """
    texts = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            row = msgspec.json.decode(line, type=Line)
        except msgspec.MsgspecError as error:
            raise ValueError(f"{path.name}, line {number}: {error}") from None
        texts.append((row.text, row.domain))
    if not texts:
        raise ValueError(f"{path.name} has no lines")
    yield from report(built_in(precision, _NO_EXPERT), texts)
