"""A stream of items as server-sent events, in the grammar of OpenAI's API."""

from __future__ import annotations

from typing import Any

import msgspec

from app.api.answer import Dialect, Head, Tally, logprobs_of
from app.errors import envelope
from app.orchestrator import Item, Job, Started
from backends.types import Delta, FinishReason

DONE = b"data: [DONE]\n\n"
PING = b": ping\n\n"


def event(data: dict[str, Any]) -> bytes:
    """One server-sent event."""
    return b"data: %b\n\n" % msgspec.json.encode(data)


def error_event(error: Exception) -> bytes:
    """The event that ends a stream which cannot go on; `[DONE]` does not follow."""
    return event(envelope(error))


class StreamEncoder:
    """Encodes items as they come. Items without content give no bytes, so headers can wait for the first content."""

    media_type = b"text/event-stream"
    streams = True

    def __init__(self, dialect: Dialect, job: Job, *, include_usage: bool = False) -> None:
        self._dialect = dialect
        self._head = Head(job.id, dialect.chunk_object)
        self._opened: set[int] = set()
        self._tally = Tally(job.choices)
        self._logprobs = logprobs_of(job, dialect)
        # With usage asked for, all chunks before the one that carries it have the field, and null in it.
        self._tail: dict[str, Any] = {"usage": None} if include_usage else {}

    def feed(self, item: Item) -> bytes:
        """The chunks of one item."""
        if isinstance(item, Started):
            self._head.start(item)
            return b""
        self._tally.add(item)
        return b"".join(map(self._chunk, self._choices(item))) if isinstance(item, Delta) else b""

    def flush(self) -> bytes:
        """The end of a complete stream; raises `EngineError` if a choice has no end."""
        self._tally.check_complete()
        if not self._tail:
            return DONE
        return event({**self._head.fields, "choices": [], "usage": self._tally.usage()}) + DONE

    def _choices(self, delta: Delta) -> list[dict[str, Any]]:
        found = self._dialect.content(delta)
        if self._logprobs:
            self._logprobs[delta.index].feed(delta)
            if found:
                found[-1]["logprobs"] = _unless_empty(self._logprobs[delta.index].take())
        if delta.finish_reason is not None:
            found.append(self._closing(delta.index, delta.finish_reason))
        if not found or delta.index in self._opened:
            return found
        self._opened.add(delta.index)
        return self._dialect.opening(delta.index) + found

    def _closing(self, index: int, reason: FinishReason) -> dict[str, Any]:
        """The end of a choice. Log-probabilities come with the text of their tokens; what brought none comes here."""
        found = self._dialect.closing(index, reason)
        if self._logprobs:
            found["logprobs"] = _unless_empty(self._logprobs[index].flush())
        return found

    def _chunk(self, choice: dict[str, Any]) -> bytes:
        return event({**self._head.fields, "choices": [choice], **self._tail})


def _unless_empty(logprobs: dict[str, Any]) -> dict[str, Any] | None:
    return logprobs if any(logprobs.values()) else None
