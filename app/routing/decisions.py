"""Who answers: a pure function of probabilities and thresholds, and when it may be said before the text has ended."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from app.routing.agreement import Agreement

Reason = Literal["explicit", "override", "sticky", "routed", "abstain", "fallback"]

PRECISIONS = tuple(round(0.5 + 0.01 * step, 2) for step in range(50))
"""What thresholds are fitted for, 0.5 to 0.99."""
FEWEST_TOKENS, STABLE_CHUNKS = 8, 2
NEVER = 2.0
"""A threshold that no probability reaches."""
DOMAINS = (
    "general",
    "technical",
    "coding",
    "math",
    "science",
    "medical",
    "legal",
    "finance",
    "creative",
    "multilingual",
    "multimodal",
)
"""The built-in ones. `multimodal` follows from images in a message, the others from its text."""
PARENTS = {"math": "technical", "coding": "technical", "technical": "general"}
ALIASES = {"multimodal_expert": "multimodal", "multilingual_expert": "multilingual"}
DEFAULT = "general"


class Thresholds(msgspec.Struct, frozen=True):
    """Per route, the least confidence for each of `PRECISIONS`; what early decisions go by, and its threshold.

    Above the probability `out_of_domain`, a text belongs to no route.
    """

    by_route: Mapping[str, tuple[float, ...]] = {}
    agreement: Agreement = Agreement()
    early: float = NEVER
    out_of_domain: float = 1.0

    def at(self, route: str, precision: float) -> float:
        """The least confidence that answers; a route without thresholds asks for the precision itself."""
        found = self.by_route.get(route)
        return precision if found is None else found[min(bisect_left(PRECISIONS, precision), len(PRECISIONS) - 1)]

    def early_enough(self, route: str, probabilities: Sequence[float], tokens: int, stability: int) -> bool:
        """Whether a beginning decides: so many tokens, of which the last `stability` chunks had the same best route."""
        if tokens < FEWEST_TOKENS or stability < STABLE_CHUNKS:
            return False
        return self.agreement.probability(route, probabilities, tokens) >= self.early


class Decision(msgspec.Struct, frozen=True):
    """What the router says of a text, or of its beginning.

    `route` is `None` where it abstains, and `expert` the one of the route or of the default. `best` is the most
    probable route in any case. `stability` counts the chunks in a row that had the same; `can_route` says whether work
    that can be undone may begin.
    """

    route: str | None
    expert: str
    best: str
    confidence: float
    reason: Reason
    threshold: float
    probabilities: dict[str, float]
    out_of_domain: float
    stability: int
    tokens: int
    can_route: bool
    final: bool

    @property
    def expert_ids(self) -> list[str]:
        """The expert, as a list."""
        return [self.expert]


def canonical(route: str) -> str:
    """A domain's own name, for one of its aliases."""
    return ALIASES.get(route, route)


def expert_for(route: str, experts: Mapping[str, str], default: str) -> str:
    """The expert (`experts` maps domains to ids) of the route, or of the nearest domain above that has one."""
    here: str | None = route
    while here is not None:
        if here in experts:
            return experts[here]
        here = PARENTS.get(here)
    return default


def wilson_lower(right: float, total: float, z: float = 1.2816) -> float:
    """The lower bound of a share: Wilson's interval, one-sided 90 % by default."""
    if total == 0:
        return 0.0
    share, square = right / total, z * z
    centre = share + square / (2 * total)
    return (centre - z * math.sqrt(share * (1 - share) / total + square / (4 * total * total))) / (1 + square / total)


def least_confidence(confidences: Sequence[float], right: Sequence[bool], precision: float) -> float:
    """The smallest threshold at which what answers has, by Wilson's lower bound, the precision; else `NEVER`."""
    found, hits = NEVER, 0
    order = sorted(range(len(confidences)), key=lambda i: -confidences[i])
    for count, i in enumerate(order, 1):
        hits += right[i]
        next_is_equal = count < len(order) and confidences[order[count]] == confidences[i]
        if not next_is_equal and wilson_lower(hits, count) >= precision:
            found = confidences[i]
    return found
