"""What `./run.sh route` prints: the decision on a text, the router's figures on a file, the fit of own routes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from app.experts.catalog import Catalog
from app.routers import own_routes, router_for, told
from app.routing.evaluation import report
from app.routing.explaining import contributions, strongest
from app.routing.own import OwnRoute
from app.settings import Settings


class Line(msgspec.Struct):
    """A labelled text of a file; `oos` is the domain of what belongs to no route."""

    text: str
    domain: str


def explained(text: str, settings: Settings) -> Iterator[str]:
    """The decision on a text, its probabilities, and the words that speak for and against it."""
    router = router_for(settings, Catalog.from_settings(settings))
    found = router.route(text)
    yield f"route          {found.route or f'none; the nearest is {found.best}'}  ({found.reason})"
    yield f"expert         {found.expert}"
    yield f"confidence     {found.confidence:.3f}, at least {found.threshold:.3f} is needed"
    yield f"out of domain  {found.out_of_domain:.3f}"
    ordered = sorted(found.probabilities.items(), key=lambda item: -item[1])
    yield "probabilities  " + ", ".join(f"{route} {p:.3f}" for route, p in ordered)
    for name, side in zip(("for", "against"), strongest(contributions(router.model, text, found.best)), strict=True):
        yield f"{name:15}" + ", ".join(f"{token!r} {weight:+.2f}" for token, weight in side)


def evaluated(path: Path, settings: Settings) -> Iterator[str]:
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
    yield from report(router_for(settings, Catalog.from_settings(settings)), texts)


def fitted(settings: Settings) -> Iterator[str]:
    """Fit the user's routes, and say how well that went.

    Raises:
        ValueError: there is nothing to fit.
    """
    from app.routing.decisions import NEVER
    from app.routing.joint import Joint

    routes = own_routes(settings, catalog := Catalog.from_settings(settings))
    if not routes:
        raise ValueError("there are no routes: JARVIS_ROUTES names the file that has them (docs/routing.md)")
    began = time.monotonic()
    router = router_for(settings, catalog)
    yield f"{'route':24}{'answered by':28}{'examples':>9}{'needs':>8}"
    for route in routes:
        name = route.built_in or route.name
        threshold = router.threshold(name)
        needs = "never" if threshold >= NEVER else f"{threshold:.2f}"
        yield f"{route.name:24}{router.expert(name) or '':28}{_learned_from(route):>9}{needs:>8}"
    if isinstance(router.model, Joint):
        yield f"\n{told(router.model.own)}"
    yield f"ready in {time.monotonic() - began:.2f} s"


def _learned_from(route: OwnRoute) -> str:
    return "built in" if route.built_in else str(len(route.examples))
