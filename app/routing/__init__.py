"""Routing: which expert answers. Pure: text in, decision out; no clock, no network.

What needs NumPy is imported when the first text is routed, so that a server is live before that.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.routing.router import IncrementalSemanticRouter

__all__ = ["built_in"]


@cache
def built_in(precision: float, default: str) -> IncrementalSemanticRouter:
    """The router of the built-in domains, for one expert that answers whatever it decides.

    Raises:
        DamagedWeightsError: the file of its weights is missing or damaged.
    """
    from app.routing.router import IncrementalSemanticRouter
    from app.routing.weights import load

    return IncrementalSemanticRouter(load(), {}, default, precision)
