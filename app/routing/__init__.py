"""Routing: which expert answers. Pure: text in, decision out; no clock, no network.

What needs NumPy is imported when the first text is routed, so that a server is live before that.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.routing.weights import Weights

__all__ = ["built_in"]


@cache
def built_in() -> Weights:
    """The weights of the built-in domains.

    Raises:
        DamagedWeightsError: their file is missing or damaged.
    """
    from app.routing.weights import load

    return load()
