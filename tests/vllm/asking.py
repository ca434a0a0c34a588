"""The same request to both engines, and what of their answers has to be the same."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import httpx

from tests.serving import Server

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
PATIENCE_S = 60.0

OWN = ("id", "created", "system_fingerprint")
"""What is every answer's, or every engine's, own."""


@dataclass(frozen=True)
class Reply:
    """A status and a body, without what is an answer's own."""

    status: int
    body: Any


def user(content: str) -> list[dict[str, str]]:
    """A conversation of one message."""
    return [{"role": "user", "content": content}]


def ask(server: Server, path: str, body: dict[str, Any]) -> Reply:
    """The answer to a request that is not streamed."""
    answer = httpx.post(server.url + path, json=body, timeout=PATIENCE_S)
    return Reply(answer.status_code, common(answer.json()))


def events(server: Server, path: str, body: dict[str, Any]) -> list[Any]:
    """The data of a stream's events, without what is an answer's own."""
    with httpx.stream("POST", server.url + path, json=body | {"stream": True}, timeout=PATIENCE_S) as answer:
        data = [line[6:] for line in answer.iter_lines() if line.startswith("data: ")]
    return [common(json.loads(text)) if text != "[DONE]" else text for text in data]


def common(body: Any) -> Any:
    """The part of a body that engines have in common: all but `OWN` and how much of the prompt was cached."""
    if not isinstance(body, dict):
        return body
    kept = {name: value for name, value in body.items() if name not in OWN}
    if isinstance(kept.get("usage"), dict):
        kept["usage"] = {name: value for name, value in kept["usage"].items() if name != "prompt_tokens_details"}
    return kept
