"""`POST /v1/route`: what the router would decide, and why; nothing is generated."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from app.api.asking import routed_text, said, without_media
from app.api.body import decode
from app.api.embeddings import MAX_INPUTS
from app.api.messages import translate_messages
from app.api.models import json_response
from app.api.wire import RouteBody
from app.state import state_of
from backends.base import InvalidRequestError

if TYPE_CHECKING:
    from app.routing.router import IncrementalSemanticRouter

DECODER = msgspec.json.Decoder(RouteBody)
CHUNK_TOKENS = 16
MOST_STEPS = 64
"""Entries of a timeline; what comes after them is read at once."""
MULTIMODAL = "multimodal"


class Input(NamedTuple):
    """A text, what was said before it, and whether there is more to it than text."""

    text: str
    before: Sequence[str] = ()
    media: bool = False


async def route(request: Request) -> Response:
    """The decision on every input."""
    body = decode(await request.body(), DECODER)
    inputs, size = inputs_of(body), body.chunk_tokens or CHUNK_TOKENS
    router = await state_of(request).dispatcher.router()
    data = [await asyncio.to_thread(described, router, item, size) for item in inputs]
    return json_response({"object": "list", "data": [{"index": i, **item} for i, item in enumerate(data)]})


def inputs_of(body: RouteBody) -> Sequence[Input]:
    """The inputs of a request, or what the user said last in its conversation.

    Raises:
        InvalidRequestError: both or neither are given, or too many inputs.
    """
    if (body.input is None) == (body.messages is None):
        raise InvalidRequestError("Give either 'input' or 'messages'", param="input")
    if body.messages is not None:
        messages, media = without_media(body.messages)
        *before, last = said(translate_messages(messages)) or ("",)
        return [Input(last, before, media)]
    texts = [body.input] if isinstance(body.input, str) else list(body.input or ())
    if not 0 < len(texts) <= MAX_INPUTS:
        raise InvalidRequestError(f"'input' must have 1 to {MAX_INPUTS} items, not {len(texts)}", param="input")
    return [Input(routed_text(text)) for text in texts]


def described(router: IncrementalSemanticRouter, item: Input, chunk_tokens: int) -> dict[str, Any]:
    """The decision on an input, with its grounds and how it came about."""
    from app.routing.explaining import contributions, strongest
    from app.routing.timeline import chunks

    text, session, steps, read = item.text, router.session(item.before), [], 0
    for chunk in islice(chunks(text, chunk_tokens), MOST_STEPS):
        session.feed(chunk)
        read += len(chunk)
        now = session.decision
        steps.append({"tokens": now.tokens, "route": now.best, "confidence": now.confidence})
    if read < len(text):
        session.feed(text[read:])
    session.flush()
    found = session.decision
    speaks_for, against = strongest(contributions(router.model, text, found.best))
    answer = {
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
    if item.media:
        answer |= {"route": MULTIMODAL, "expert": router.expert(MULTIMODAL), "reason": "routed", "confidence": 1.0}
    return answer
