"""What an answer consists of, while it is being collected: choices, token counts, and who gave it."""

from __future__ import annotations

import hashlib
import secrets
import time
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from app.api.logprobs import ChoiceLogprobs
from app.orchestrator import Item, Job, Started
from backends.base import EngineError
from backends.types import Accepted, Delta, FinishReason, ModelInfo


@dataclass(slots=True)
class Choice:
    """One choice so far."""

    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    finish_reason: FinishReason | None = None

    def add(self, delta: Delta) -> None:
        """Take in what one engine step added."""
        self.text.append(delta.text)
        self.reasoning.append(delta.reasoning)
        self.finish_reason = delta.finish_reason


class Dialect(Protocol):
    """What differs between chat and text completions. Everything is given and returned as JSON-like values."""

    id_prefix: str
    whole_object: str
    chunk_object: str

    def whole(self, index: int, choice: Choice) -> dict[str, Any]:
        """A complete choice of a plain answer."""
        ...

    def opening(self, index: int) -> list[dict[str, Any]]:
        """What a stream says before the first content of a choice."""
        ...

    def content(self, delta: Delta) -> list[dict[str, Any]]:
        """What a stream says of a delta's content."""
        ...

    def closing(self, index: int, reason: FinishReason) -> dict[str, Any]:
        """The last that a stream says of a choice."""
        ...

    def logprobs(self) -> ChoiceLogprobs:
        """What encodes the log-probabilities of a new choice."""
        ...


class Tally:
    """Counts over all prompts and choices of an answer."""

    def __init__(self, choices: int) -> None:
        self._unfinished = choices
        self._prompt = self._cached = self._completion = 0

    def add(self, event: Accepted | Delta) -> None:
        """Take in one event."""
        if isinstance(event, Accepted):
            self._prompt += event.prompt_tokens
            self._cached += event.cached_tokens
        elif event.finish_reason is not None:
            self._unfinished -= 1
            self._completion += event.usage.completion_tokens if event.usage else 0

    def check_complete(self) -> None:
        """Raise `EngineError` if a choice has no end: half an answer must not look like a whole one."""
        if self._unfinished > 0:
            raise EngineError("The engine ended the stream before the answer was complete")

    def usage(self) -> dict[str, Any]:
        """The `usage` object. A prompt counts once, however many choices it has."""
        return {
            "prompt_tokens": self._prompt,
            "completion_tokens": self._completion,
            "total_tokens": self._prompt + self._completion,
            "prompt_tokens_details": {"cached_tokens": self._cached},
        }


class Head:
    """The fields that stay the same over an answer; `model` and `system_fingerprint` are known once it has started."""

    def __init__(self, id: str, object: str) -> None:
        self.fields: dict[str, Any] = {"id": id, "object": object, "created": int(time.time())}

    def start(self, started: Started) -> None:
        """Fill in who answers."""
        self.fields |= {"model": started.model, "system_fingerprint": fingerprint(started.info)}


class Collector:
    """Encodes a plain answer: nothing until it is complete."""

    media_type = b"application/json"
    streams = False

    def __init__(self, dialect: Dialect, job: Job) -> None:
        self._dialect = dialect
        self._head = Head(job.id, dialect.whole_object)
        self._choices = [Choice() for _ in range(job.choices)]
        self._tally = Tally(job.choices)
        self._logprobs = logprobs_of(job, dialect)

    def feed(self, item: Item) -> bytes:
        """Take in one item; there is nothing to send yet."""
        if isinstance(item, Started):
            self._head.start(item)
            return b""
        self._tally.add(item)
        if isinstance(item, Delta):
            self._choices[item.index].add(item)
            if self._logprobs:
                self._logprobs[item.index].feed(item)
        return b""

    def flush(self) -> bytes:
        """The whole body; raises `EngineError` if the answer is not complete."""
        self._tally.check_complete()
        choices = [self._dialect.whole(index, choice) for index, choice in enumerate(self._choices)]
        for choice, logprobs in zip(choices, self._logprobs, strict=False):
            choice["logprobs"] = logprobs.flush()
        return msgspec.json.encode({**self._head.fields, "choices": choices, "usage": self._tally.usage()})


def logprobs_of(job: Job, dialect: Dialect) -> list[ChoiceLogprobs]:
    """One per choice if the job asks for log-probabilities, else none."""
    wanted = job.requests[0].logprobs is not None
    return [dialect.logprobs() for _ in range(job.choices)] if wanted else []


def new_id(prefix: str) -> str:
    """A fresh id of an answer."""
    return f"{prefix}-{secrets.token_hex(12)}"


def fingerprint(info: ModelInfo) -> str:
    """Names the model and engine: equal as long as both stay what they are."""
    return f"fp_{hashlib.sha256(msgspec.msgpack.encode(info)).hexdigest()[:12]}"
