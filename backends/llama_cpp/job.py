"""What the scheduler knows about one request: its prompt, its choices, and where each of them stands."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from backends.base import EngineError
from backends.llama_cpp.cells import Claim
from backends.llama_cpp.ngram import NgramDrafter
from backends.llama_cpp.sampling import Sampler
from backends.text import TextStream
from backends.types import Event, FinishReason, GenerationRequest, SamplingParams, Timings, TokenLogprob, Usage

if TYPE_CHECKING:
    from backends.constraints.constraining import TokenMatcher


@dataclass(eq=False, slots=True)
class Choice:
    """One of the `n` answers.

    `last` is drawn but not evaluated yet, `evaluated` counts the tokens before it that are. `draft` are guesses of what
    follows `last`, for this step. `unsent` ids, with their log-probabilities, wait for text that is certain.
    """

    index: int
    sequence: int
    sampler: Sampler
    text: TextStream
    matcher: TokenMatcher | None = None
    drafter: NgramDrafter | None = None
    last: int = -1
    generated: int = 0
    evaluated: int = 0
    draft: list[int] = field(default_factory=list)
    new_text: str = ""
    unsent: list[int] = field(default_factory=list)
    unsent_logprobs: list[TokenLogprob] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class Job:
    """One request on its way through the scheduler. Prompt and limits are fixed, the rest is the scheduler's.

    `echo` is the prompt's text where it is to be repeated; `promised` counts KV cells set aside and not used yet.
    """

    request: GenerationRequest
    prompt: list[int]
    sampling: SamplingParams
    stops: tuple[str, ...]
    end_tokens: frozenset[int]
    max_new: int
    echo: str | None = None
    matcher: TokenMatcher | None = None
    drafter: NgramDrafter | None = None
    number: int = 0
    cached: int = 0
    filled: int = 0
    promised: int = 0
    sequences: list[int] = field(default_factory=list)
    choices: list[Choice] = field(default_factory=list)
    running: list[Choice] = field(default_factory=list)
    prompt_logprobs: list[TokenLogprob] = field(default_factory=list)
    submitted_s: float = field(default_factory=time.monotonic)
    admitted_s: float = 0.0
    first_token_s: float = 0.0
    events: asyncio.Queue[Event | EngineError | None] = field(default_factory=asyncio.Queue)

    @property
    def claim(self) -> Claim:
        """What the job needs of the KV cache. Prompt tokens whose logits are wanted have to be evaluated."""
        request = self.request
        key = (request.adapter, request.cache_salt)
        return Claim(key, self.prompt, self.max_new, request.n, reuse=not self.every_output)

    @property
    def speculative(self) -> bool:
        """Whether nobody waits for this job, so that it gives way to every other."""
        return self.request.priority < 0

    @property
    def every_output(self) -> bool:
        """Whether the logits of every prompt token are wanted."""
        return self.request.prompt_logprobs is not None

    @property
    def unfilled(self) -> int:
        """Prompt tokens that are not evaluated yet."""
        return len(self.prompt) - self.filled

    def position(self, choice: Choice) -> int:
        """Position of the choice's `last` token."""
        return len(self.prompt) + choice.evaluated

    def usage(self, choice: Choice) -> Usage:
        """Token counts of one choice so far."""
        return Usage(prompt_tokens=len(self.prompt), completion_tokens=choice.generated, cached_tokens=self.cached)

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
        if choice.matcher is not None and choice.matcher.complete:
            return "stop"
        return "length" if choice.generated >= self.max_new else None
