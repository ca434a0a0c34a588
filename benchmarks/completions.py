"""One streamed completion, timed: when each piece of text came, and how many tokens there were."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from benchmarks.client import Connection, RefusedError, post_request


@dataclass
class Answer:
    """A completion as the client saw it; times are of `time.perf_counter`. `arrivals` grows while the stream runs."""

    began: float = 0.0
    ended: float = 0.0
    arrivals: list[float] = field(default_factory=list)
    usage: dict[str, Any] = field(default_factory=dict)

    @property
    def tokens(self) -> int:
        """Tokens generated: what the server counts, else the pieces of text that came."""
        return int(self.usage.get("completion_tokens", len(self.arrivals)))

    @property
    def first_s(self) -> float:
        """Seconds to the first text. Raises `RefusedError` if none came."""
        if not self.arrivals:
            raise RefusedError("the stream ended without any text")
        return self.arrivals[0] - self.began

    @property
    def decode_rate(self) -> float:
        """Tokens a second after the first one."""
        if len(self.arrivals) < 2:
            raise RefusedError(f"the stream ended after {len(self.arrivals)} pieces of text")
        return (self.tokens - 1) / (self.arrivals[-1] - self.arrivals[0])

    def gaps(self, start: float = 0.0, end: float = float("inf")) -> list[float]:
        """Seconds between pieces of text, for the gaps that end in the given span of time."""
        pairs = zip(self.arrivals, self.arrivals[1:], strict=False)
        return [later - earlier for earlier, later in pairs if start <= later <= end]


async def complete(url: str, prompt: str, max_tokens: int, *, answer: Answer | None = None, **fields: Any) -> Answer:
    """Stream one completion to its end, over a connection of its own. With `answer`, somebody watches it grow.

    `fields` are further ones of the request; those that are `None` are left out.

    Raises:
        RefusedError: the server answered with an error, before the stream or in it.
    """
    given = {name: value for name, value in fields.items() if value is not None}
    request = completion_request(prompt, max_tokens, **given)
    answer = answer or Answer()
    answer.began = time.perf_counter()
    async with Connection(url) as connection, aclosing(events(connection, request)) as stream:
        async for event in stream:
            if any(choice.get("text") for choice in event.get("choices", ())):
                answer.arrivals.append(time.perf_counter())
            answer.usage = event.get("usage") or answer.usage
    answer.ended = time.perf_counter()
    return answer


def completion_request(prompt: str, max_tokens: int, **fields: Any) -> bytes:
    """A streamed completion that does not end early."""
    ask: dict[str, Any] = {"model": "default", "prompt": prompt, "max_tokens": max_tokens, "ignore_eos": True}
    return post_request("/v1/completions", ask | {"stream": True, "stream_options": {"include_usage": True}} | fields)


async def events(connection: Connection, request: bytes) -> AsyncGenerator[dict[str, Any]]:
    """The JSON of each server-sent event. Raises `RefusedError` for one that carries an error."""
    rest = b""
    async with aclosing(connection.stream(request)) as chunks:
        async for chunk in chunks:
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                data = line.strip().removeprefix(b"data:").strip()
                if data.startswith(b"{"):
                    yield _checked(json.loads(data))


def _checked(event: dict[str, Any]) -> dict[str, Any]:
    if "error" in event:
        raise RefusedError(f"an error event: {json.dumps(event['error'])[:300]}")
    return event
