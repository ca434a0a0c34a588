"""A text as it would arrive, in chunks of so many tokens, and what the router says after each."""

from __future__ import annotations

import re
from collections.abc import Iterator

from app.routing.decisions import Decision
from app.routing.router import IncrementalSemanticRouter

_TOKEN = re.compile(r"\w+\W?\s*|[^\w\s]\s*|\s+")


def chunks(text: str, tokens: int) -> Iterator[str]:
    """The text in pieces of about so many words and marks; together they are the text.

    Raises:
        ValueError: `tokens` is below 1.
    """
    if tokens < 1:
        raise ValueError(f"chunk_tokens must be at least 1, not {tokens}")
    begin = count = 0
    for found in _TOKEN.finditer(text):
        count += 1
        if count == tokens:
            yield text[begin : found.end()]
            begin, count = found.end(), 0
    if begin < len(text):
        yield text[begin:]


def timeline(router: IncrementalSemanticRouter, text: str, chunk_tokens: int) -> list[Decision]:
    """The decision after each chunk, and at last the one on the whole text."""
    session = router.session()
    found = []
    for chunk in chunks(text, chunk_tokens):
        session.feed(chunk)
        found.append(session.decision)
    session.flush()
    return [*found, session.decision]
