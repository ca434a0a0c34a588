"""`POST /v1/route`: what the router would decide, and why; nothing is generated."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from app.api.body import decode
from app.api.embeddings import MAX_INPUTS
from app.api.messages import translate_messages
from app.api.models import json_response
from app.api.wire import RouteBody
from app.orchestrator import Routed
from app.routing import built_in
from app.state import state_of
from backends.base import InvalidRequestError

if TYPE_CHECKING:
    from app.routing.router import IncrementalSemanticRouter

DECODER = msgspec.json.Decoder(RouteBody)
CHUNK_TOKENS = 16
MOST_STEPS = 64
"""Entries of a timeline; what comes after them is read at once."""

Header = tuple[bytes, bytes]


async def route(request: Request) -> Response:
    """The decision on every input."""
    body = decode(await request.body(), DECODER)
    state = state_of(request)
    texts, size = routed_texts(body), body.chunk_tokens or CHUNK_TOKENS
    router = built_in(state.settings.routing.precision, state.catalog.locate(None, "generate").id)
    data = [await asyncio.to_thread(described, router, text, size) for text in texts]
    return json_response({"object": "list", "data": [{"index": i, **item} for i, item in enumerate(data)]})


def routed_texts(body: RouteBody) -> Sequence[str]:
    """The texts of a request: its inputs, or what the user said last.

    Raises:
        InvalidRequestError: both or neither are given, or too many inputs.
    """
    if (body.input is None) == (body.messages is None):
        raise InvalidRequestError("Give either 'input' or 'messages'", param="input")
    if body.messages is not None:
        said = [message.text for message in translate_messages(body.messages) if message.role == "user"]
        return said[-1:] or [""]
    inputs = [body.input] if isinstance(body.input, str) else list(body.input or ())
    if not 0 < len(inputs) <= MAX_INPUTS:
        raise InvalidRequestError(f"'input' must have 1 to {MAX_INPUTS} items, not {len(inputs)}", param="input")
    return inputs


def described(router: IncrementalSemanticRouter, text: str, chunk_tokens: int) -> dict[str, Any]:
    """The decision on a text, with its grounds and how it came about."""
    from app.routing.explaining import contributions, strongest
    from app.routing.timeline import chunks

    session, steps, read = router.session(), [], 0
    for chunk in islice(chunks(text, chunk_tokens), MOST_STEPS):
        session.feed(chunk)
        read += len(chunk)
        now = session.decision
        steps.append({"tokens": now.tokens, "route": now.best, "confidence": now.confidence})
    if read < len(text):
        session.feed(text[read:])
    session.flush()
    found = session.decision
    speaks_for, against = strongest(contributions(router.weights.model, text, found.best))
    return {
        "route": found.route,
        "expert": found.expert,
        "confidence": found.confidence,
        "reason": found.reason,
        "threshold": found.threshold,
        "probabilities": found.probabilities,
        "out_of_domain": found.out_of_domain,
        "tokens": found.tokens,
        "for": speaks_for,
        "against": against,
        "timeline": steps,
    }


def headers(routed: Routed) -> list[Header]:
    """The headers that tell who answers and why."""
    found = {"expert": routed.expert, "reason": routed.reason}
    if routed.decision is not None:
        found |= {"route": routed.decision.route or "none", "confidence": f"{routed.decision.confidence:.3f}"}
    return [(f"x-jarvis-{name}".encode(), _ascii(value)) for name, value in found.items()]


def _ascii(value: str) -> bytes:
    """Header values are ASCII; other characters of a model's id are escaped."""
    return value.encode("ascii", "backslashreplace")
