"""Texts as vectors without an engine: a table of token vectors that ships with the project.

What needs NumPy is imported when the first text comes, so that a server is live before that.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.embedding.static import StaticEmbedder

__all__ = ["built_in"]


@cache
def built_in() -> StaticEmbedder:
    """The embedding that ships.

    Raises:
        DamagedFileError: its file is missing or damaged.
    """
    from app.embedding.table import load

    return load()
