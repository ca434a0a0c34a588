"""What the scheduler knows about one request: its prompt, its choices, and where each of them stands."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from backends.base import EngineError
from backends.llama_cpp.sampling import Sampler
from backends.llama_cpp.text import TextStream
from backends.types import Event, FinishReason, GenerationRequest, SamplingParams, Timings, Usage


@dataclass(eq=False, slots=True)
class Choice:
    """One of the `n` answers. `last` is drawn and sent but not evaluated yet; `unsent` ids wait for certain text."""

    index: int
    sequence: int
    sampler: Sampler
    text: TextStream
    last: int = -1
    generated: int = 0
    unsent: list[int] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class Job:
    """One request on its way through the scheduler. The prompt and limits are fixed, the rest is the scheduler's."""

    request: GenerationRequest
    prompt: list[int]
    sampling: SamplingParams
    stops: tuple[str, ...]
    end_tokens: frozenset[int]
    max_new: int
    number: int = 0
    filled: int = 0
    cells: int = 0
    choices: list[Choice] = field(default_factory=list)
    running: list[Choice] = field(default_factory=list)
    submitted_s: float = field(default_factory=time.monotonic)
    admitted_s: float = 0.0
    first_token_s: float = 0.0
    events: asyncio.Queue[Event | EngineError | None] = field(default_factory=asyncio.Queue)

    @property
    def unfilled(self) -> int:
        """Prompt tokens that are not evaluated yet."""
        return len(self.prompt) - self.filled

    @property
    def cells_needed(self) -> int:
        """KV cells that the job can ever need: the prompt once, then its own tokens for each choice."""
        return len(self.prompt) + self.request.n * self.max_new

    def position(self, choice: Choice) -> int:
        """Position of the choice's `last` token."""
        return len(self.prompt) + choice.generated - 1

    def usage(self, choice: Choice) -> Usage:
        """Token counts of one choice so far."""
        return Usage(prompt_tokens=len(self.prompt), completion_tokens=choice.generated)

    def timings(self) -> Timings:
        """Where the time went until now."""
        first = self.first_token_s or time.monotonic()
        return Timings(
            queue_s=self.admitted_s - self.submitted_s,
            prefill_s=first - self.admitted_s,
            decode_s=time.monotonic() - first,
        )

    def finish_reason(self, choice: Choice, token: int) -> FinishReason | None:
        """Why the choice ends with `token`, if it does."""
        if token in self.end_tokens or choice.text.stopped:
            return "stop"
        return "length" if choice.generated >= self.max_new else None
