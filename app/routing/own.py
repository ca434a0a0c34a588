"""Routes of users: what they bring, and what is wrong with it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Sequence

import msgspec

from app.routing.decisions import ALIASES, DOMAINS, canonical

FEWEST_EXAMPLES, MOST_EXAMPLES = 5, 500
MOST_ROUTES, MOST_KEYWORDS, MOST_TEXTS = 64, 100, 4000
LONGEST = 4_000
"""Characters of an example or a description."""
RESERVED = ("none", "oos")
"""What headers and files of labelled texts call it when a text has no route."""
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class RoutesError(Exception):
    """The routes cannot be used; `problems` has one line for each thing that must change."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("; ".join(problems))


class OwnRoute(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A route as its owner describes it: a built-in `domain`, or `examples` with `keywords` and a `description`.

    `expert` is the model that answers; without one, the default does.
    """

    name: str
    expert: str | None = None
    domain: str | None = None
    examples: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    description: str | None = None

    @property
    def built_in(self) -> str | None:
        """The domain that it stands for: the one that it gives, or the one that it is called like."""
        if self.domain is not None:
            return canonical(self.domain)
        return canonical(self.name) if canonical(self.name) in DOMAINS else None

    @property
    def sentences(self) -> tuple[str, ...]:
        """Its examples and its description."""
        return (*self.examples, *((self.description,) if self.description else ()))

    @property
    def texts(self) -> tuple[str, ...]:
        """All that it can be learned from."""
        return (*self.sentences, *self.keywords)


def problems(routes: Sequence[OwnRoute]) -> Iterator[str]:
    """What is wrong with the routes, one line each, named by route and field."""
    if len(routes) > MOST_ROUTES:
        yield f"there are {len(routes)} routes; {MOST_ROUTES} is the most"
    for route in routes:
        yield from (f"[{shown(route.name)}] {problem}" for problem in _problems_of(route))
    if (count := sum(len(route.texts) for route in routes)) > MOST_TEXTS:
        yield f"there are {count} examples, keywords and descriptions in all; {MOST_TEXTS} is the most"
    yield from _shared(routes)


def _problems_of(route: OwnRoute) -> Iterator[str]:
    if not _ID.fullmatch(route.name):
        yield "is no name for a route: use letters, digits, '.', '_' and '-', at most 64, a letter or digit first"
    if route.name in RESERVED:
        yield f"is no name for a route: '{route.name}' stands for texts of no route"
    if route.domain is not None and canonical(route.domain) not in DOMAINS:
        yield f"domain '{route.domain[:80]}' is none of {', '.join((*DOMAINS, *ALIASES))}"
    if route.built_in is None:
        yield from _problems_of_texts(route)
    elif route.texts:
        means = "has a domain" if route.domain is not None else "is called like a built-in domain"
        yield f"{means}, so it takes no examples, keywords or description: give them to a route of another name"


def _problems_of_texts(route: OwnRoute) -> Iterator[str]:
    count = len(route.examples)
    if not FEWEST_EXAMPLES <= count <= MOST_EXAMPLES:
        problem = f"has {count} example{'' if count == 1 else 's'}"
        yield f"{problem}; it needs {FEWEST_EXAMPLES} to {MOST_EXAMPLES} examples, or a domain"
    if len(route.keywords) > MOST_KEYWORDS:
        yield f"has {len(route.keywords)} keywords; {MOST_KEYWORDS} is the most"
    seen: set[str] = set()
    for number, text in enumerate(route.texts):
        if (plain := normal(text)) in seen and plain:
            yield f"has '{text[:60]}' twice: a text that is there again teaches nothing"
            break
        seen.add(plain)
        if not text.strip():
            yield f"has an empty text (number {number + 1} of its examples, description and keywords)"
        elif len(text) > LONGEST:
            yield f"has a text of {len(text)} characters ('{text[:40]}…'); {LONGEST} is the most"


def _shared(routes: Sequence[OwnRoute]) -> Iterator[str]:
    """Routes that cannot be told apart."""
    seen: dict[str, str] = {}
    for route in routes:
        if route.built_in is not None:
            other = seen.setdefault(f"domain {route.built_in}", route.name)
            if other != route.name:
                yield f"[{route.name}] and [{other}] are both for the domain '{route.built_in}'"
            continue
        for text in dict.fromkeys(normal(text) for text in route.texts):
            other = seen.setdefault(f"text {text}", route.name)
            if other != route.name:
                yield f"[{route.name}] and [{other}] both have '{text[:60]}': nothing could tell them apart"
                break


def normal(text: str) -> str:
    """The text as it is compared with others: without case and doubled spaces."""
    return " ".join(text.casefold().split())


def parse(text: str) -> tuple[OwnRoute, ...]:
    """The routes of a TOML text, one table each.

    Raises:
        RoutesError: with everything that is wrong.
    """
    try:
        tables = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits, tables in thousands of tables
        raise RoutesError([f"this is not TOML: {error}"]) from None
    routes, wrong = [], []
    for name, table in tables.items():
        try:
            routes.append(_route(name, table))
        except msgspec.ValidationError as error:
            wrong.append(f"[{shown(name)}] {_in_words(error)}")
    if not tables:
        wrong.append("there is no route: write [name] and its examples below")
    if found := [*wrong, *problems(routes)]:
        raise RoutesError(found)
    return tuple(routes)


def _route(name: str, table: object) -> OwnRoute:
    if not isinstance(table, dict):
        raise msgspec.ValidationError("is no table: write the name in brackets, and what belongs to it below")
    if "name" in table:
        raise msgspec.ValidationError("Object contains unknown field `name`")
    return msgspec.convert({**table, "name": name}, OwnRoute)


def shown(name: str) -> str:
    """The name of a table as an error tells it: without control characters, and not too long."""
    return name[:80] if name.isprintable() else ascii(name[:80])


def _in_words(error: msgspec.ValidationError) -> str:
    """What msgspec says, the field first."""
    what, _, place = str(error).replace("`", "").partition(" - at $")
    field, what = place.removeprefix("."), what.removeprefix("Object contains ")
    if what.startswith("unknown"):
        return f"has an {what}; the fields are expert, domain, examples, keywords and description"
    return f"{field}: {what}" if field else what
