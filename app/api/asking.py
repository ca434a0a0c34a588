"""What of a request says who shall answer it, and the headers that say who did."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from starlette.requests import Request

from app.api.body import decode
from app.api.wire import GenerationBody, WireMessage
from app.dispatch import EXPERT_HEADER, MOST_ROUTED, ROUTE_HEADER, SESSION_HEADER, Asked, Routed
from app.orchestrator import Job
from app.routing.human import human
from backends.types import Message

Header = tuple[bytes, bytes]

_TEXT = msgspec.json.Decoder(str)
MOST_SAID = 5
"""Messages of the user that the router looks at."""

MEDIA = frozenset({"audio", "file", "image", "image_url", "input_audio", "input_file", "input_image", "video_url"})
"""Types of content parts that are no text."""


def asked(request: Request, body: GenerationBody, job: Job) -> Asked:
    """What the request says: its model, its headers, and what the user has said so far."""
    headers, first = request.headers, job.requests[0]
    prompt = () if first.prompt is None else (routed_text(first.prompt),)
    return Asked(
        job.model,
        said(first.messages) if first.messages else prompt,
        headers.get(EXPERT_HEADER) or None,
        headers.get(ROUTE_HEADER) or None,
        session(request, body),
    )


def session(request: Request, body: GenerationBody) -> str | None:
    """What the client calls the session: its header, or else its `user`; the two never mean the same one.

    Neither do the same names under two API keys.
    """
    header = request.headers.get(SESSION_HEADER)
    named = f"session {header}" if header else user(body)
    return None if named is None else f"{request.scope.get('state', {}).get('caller', '')} {named}"


def said(messages: Sequence[Message]) -> tuple[str, ...]:
    """What the user has written last, oldest first; only so much of it as the router looks at."""
    users = [message for message in messages if message.role == "user"]
    return tuple(routed_text(message.text) for message in users[-MOST_SAID:])


def routed_text(text: str) -> str:
    """What the router reads of a text: what a person wrote of it, and so much as it looks at."""
    return human(text)[:MOST_ROUTED]


def user(body: GenerationBody) -> str | None:
    """The request's `user`, if it is a text."""
    raw = bytes(body.user) if isinstance(body.user, msgspec.Raw) else b""
    found = decode(raw, _TEXT) if raw.startswith(b'"') else ""
    return f"user {found}" if found else None


def without_media(messages: Sequence[WireMessage]) -> tuple[list[WireMessage], bool]:
    """The messages with their texts alone, and whether the last one of the user has anything else."""
    found, media = [], False
    for message in messages:
        parts = message.content if isinstance(message.content, list) else []
        texts = [part for part in parts if part.type not in MEDIA]
        if message.role == "user":
            media = len(texts) < len(parts)
        found.append(message if len(texts) == len(parts) else msgspec.structs.replace(message, content=texts or ""))
    return found, media


def headers(routed: Routed) -> list[Header]:
    """The headers that tell who answers and why."""
    found = {"expert": routed.expert, "reason": routed.reason}
    if routed.route is not None or routed.decision is not None:
        found["route"] = routed.route or "none"
    if routed.decision is not None:
        found["confidence"] = f"{routed.decision.confidence:.3f}"
    return [(f"x-jarvis-{name}".encode(), _ascii(value)) for name, value in found.items()]


def _ascii(value: str) -> bytes:
    """Header values are printable ASCII; other characters of a model's id are escaped."""
    return (value if value.isprintable() else ascii(value)).encode("ascii", "backslashreplace")
