"""What is known of one request while vLLM works on it, and how its tokens become events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from msgspec import structs

from backends.text import TextStream
from backends.types import (
    Constraint,
    Delta,
    FinishReason,
    GenerationRequest,
    SamplingParams,
    Timings,
    TokenLogprob,
    Usage,
)
from backends.vocabulary import BaseVocabulary

if TYPE_CHECKING:
    from backends.constraints.constraining import TokenMatcher


@dataclass(eq=False, slots=True)
class Job:
    """One request. `constraint` has been checked; `max_new` is 0 where only the prompt is to be evaluated.

    `end_tokens` end an answer, `banned` never come.
    """

    request: GenerationRequest
    prompt: list[int]
    sampling: SamplingParams
    stops: tuple[str, ...]
    end_tokens: frozenset[int]
    max_new: int
    banned: frozenset[int] = frozenset()
    echo: str | None = None
    constraint: Constraint | None = None
    matcher: TokenMatcher | None = None
    cached: int | None = None
    """Tokens of the prompt that were in the cache; `None` until the engine has begun."""


@dataclass(eq=False, slots=True)
class Choice:
    """One of the `n` answers: takes the engine's tokens and gives what is certain of them."""

    job: Job
    vocab: BaseVocabulary
    index: int
    generated: int = 0
    finish: FinishReason | None = None
    matcher: TokenMatcher | None = None
    text: TextStream = field(init=False)
    new_text: str = ""
    unsent: list[int] = field(default_factory=list)
    unsent_logprobs: list[TokenLogprob] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.text = TextStream(self.job.stops, include_stop=self.job.request.stopping.include_stop)
        self.matcher = self.job.matcher.fork() if self.job.matcher else None

    def take(self, tokens: Sequence[int], logprobs: Sequence[Mapping[int, Any]] | None) -> None:
        """Go on with tokens that were drawn; those after the end of the answer are not part of it.

        `logprobs` has a map for each token: from id to what vLLM says of it.

        Raises:
            InvalidRequestError: a token does not fit the constraint.
        """
        for place, token in enumerate(tokens):
            if self.finish:
                return
            self._accept(token, logprobs[place] if logprobs else None)

    def _accept(self, token: int, found: Mapping[int, Any] | None) -> None:
        job = self.job
        early = self.generated < job.request.stopping.min_tokens
        if self.matcher and token not in job.end_tokens:
            self.matcher.accept(token)
        self.generated += 1
        raw = self._text_of(token)
        if found is not None:
            entry = token_logprob(token, found, job.request.logprobs or 0, self.vocab)
            self.unsent_logprobs.append(entry if raw else structs.replace(entry, shown=False))
        self.unsent.append(token)
        self.new_text += self.text.feed(raw, watch=not early)
        self.finish = self._reason(token)
        if self.finish:
            self.new_text += self.text.flush()

    def end(self, reason: FinishReason) -> None:
        """The engine has ended the answer; harmless where it has its reason already."""
        if self.finish is None:
            self.finish = reason
            self.new_text += self.text.flush()

    def delta(self, timings: Timings) -> Delta | None:
        """What was added since the last delta; `None` as long as no text is certain."""
        if not (self.new_text or self.finish):
            return None
        delta = Delta(
            index=self.index,
            text=self.new_text,
            token_ids=tuple(self.unsent),
            logprobs=tuple(self.unsent_logprobs),
        )
        self.new_text, self.unsent, self.unsent_logprobs = "", [], []
        if self.finish is None:
            return delta
        usage = Usage(len(self.job.prompt), self.generated, self.job.cached or 0)
        return structs.replace(delta, finish_reason=self.finish, usage=usage, timings=timings)

    def _reason(self, token: int) -> FinishReason | None:
        if token in self.job.end_tokens or self.text.stopped:
            return "stop"
        if self.matcher is not None and self.matcher.complete:
            return "stop"
        return "length" if self.generated >= self.job.max_new else None

    def _text_of(self, token: int) -> bytes:
        request = self.job.request
        kept = request.stopping.include_stop and token in request.stopping.stop_token_ids
        if token in self.job.end_tokens and not kept:
            return b""
        return self.vocab.piece(token) if request.skip_special_tokens else self.vocab.control_text(token)


def token_logprob(token: int, found: Mapping[int, Any], top: int, vocab: BaseVocabulary) -> TokenLogprob:
    """What vLLM says of a token and of the `top` most probable ones in its place (of equals the lower id first).

    `found` has the token itself even where it is not among them.
    """
    ranked = sorted(((id, entry.logprob) for id, entry in found.items()), key=lambda item: (-item[1], item[0]))
    best = tuple((id, float(value), vocab.control_text(id)) for id, value in ranked[:top])
    return TokenLogprob(token, float(found[token].logprob), vocab.control_text(token), best)
