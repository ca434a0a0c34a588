"""From a row of logits to what the client gets: the token that is drawn, its text, its log-probability."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import structs

from backends.echo import as_echoed, echo_deltas, first_of_prompt
from backends.llama_cpp.context import Context
from backends.llama_cpp.job import Choice, Job
from backends.llama_cpp.logprobs import prompt_logprobs, token_logprob
from backends.llama_cpp.ngram import NgramDrafter
from backends.llama_cpp.sampling import Sampler, Scratch, suppress
from backends.llama_cpp.vocab import Vocabulary
from backends.text import TextStream
from backends.types import Delta, FinishReason


class Drawing:
    """Draws tokens for choices from the context's logits. Belongs to the scheduler's thread."""

    def __init__(self, context: Context, vocab: Vocabulary) -> None:
        self._context = context
        self._vocab = vocab
        self._scratch = Scratch(context.vocab_size)

    def choice(self, job: Job, index: int) -> Choice:
        """The beginning of one of the job's answers."""
        stopping = job.request.stopping
        banned = self._vocab.end_of_generation if stopping.ignore_eos else ()
        sampler = Sampler(job.sampling, self._scratch, choice=index, banned=banned)
        sampler.see(job.prompt)
        return Choice(
            index,
            job.sequences[index],
            sampler,
            TextStream(job.stops, include_stop=stopping.include_stop),
            matcher=job.matcher.fork() if job.matcher else None,
            drafter=self._drafter(job, index),
        )

    def _drafter(self, job: Job, index: int) -> NgramDrafter | None:
        """One of its own for every choice; the first takes the job's, which was made before this thread saw it."""
        return NgramDrafter(job.prompt) if job.drafter and index else job.drafter

    def draw(self, job: Job, choice: Choice, row: int) -> FinishReason | None:
        """Draw the choice's next token from a row, into `last` and what is unsent. Returns why it is the final one.

        Raises `EngineError` if no token can come next, or its constraint cannot be followed; that ends the job.
        """
        early = choice.generated < job.request.stopping.min_tokens
        wanted = job.request.logprobs
        restrict = early or choice.matcher is not None
        logits = self._context.logits(row)
        # What is restricted below is not what the model said, and the other choices begin from the same row.
        raw = logits.copy() if restrict and (wanted is not None or job.request.n > 1) else logits
        if early:
            suppress(logits, job.end_tokens)
        if choice.matcher:
            choice.matcher.mask(logits)
        token = choice.last = choice.sampler.sample(logits)
        if restrict and job.request.n > 1:
            logits[:] = raw
        if choice.matcher and token not in job.end_tokens:
            choice.matcher.accept(token)
        choice.generated += 1
        text = self._text_of(job, token)
        if wanted is not None:
            entry = token_logprob(raw, token, wanted, self._vocab.control_text)
            choice.unsent_logprobs.append(entry if text else structs.replace(entry, shown=False))
        choice.unsent.append(token)
        choice.new_text += choice.text.feed(text, watch=not early)
        finish = job.finish_reason(choice, token)
        if finish:
            choice.new_text += choice.text.flush()
        return finish

    def delta(self, job: Job, choice: Choice, finish: FinishReason | None) -> Delta | None:
        """What the draws since the last delta add up to; `None` as long as no text is certain."""
        if not (choice.new_text or finish):
            return None
        delta = Delta(
            index=choice.index,
            text=choice.new_text,
            token_ids=tuple(choice.unsent),
            logprobs=tuple(choice.unsent_logprobs),
        )
        choice.new_text, choice.unsent, choice.unsent_logprobs = "", [], []
        return self.last(job, choice, delta, finish) if finish else delta

    def last(self, job: Job, choice: Choice, delta: Delta, finish: FinishReason) -> Delta:
        """The delta with what comes at the end of a choice."""
        return structs.replace(delta, finish_reason=finish, usage=job.usage(choice), timings=job.timings())

    def note_prompt(self, job: Job, tokens: Sequence[int], last_row: int) -> None:
        """Take the log-probabilities of the prompt from the rows of `tokens`, which follow what was filled before."""
        wanted = job.request.prompt_logprobs
        if wanted is None:
            return
        piece = self._vocab.control_text
        if not job.prompt_logprobs:
            job.prompt_logprobs.append(first_of_prompt(job.prompt[0], piece))
        following = job.prompt[job.filled + 1 : job.filled + 1 + len(tokens)]
        first_row = last_row + 1 - len(tokens)
        rows = (self._context.logits(row) for row in range(first_row, first_row + len(following)))
        job.prompt_logprobs += prompt_logprobs(rows, following, wanted, piece)

    def echo(self, job: Job, choice: Choice) -> Sequence[Delta]:
        """The prompt as the choice repeats it, with its log-probabilities if they were asked for."""
        if job.echo is None:
            return ()
        entries = as_echoed(job.prompt_logprobs, job.echo, lambda token: bool(self._vocab.piece(token)))
        return echo_deltas(choice.index, job.echo, entries)

    def _text_of(self, job: Job, token: int) -> bytes:
        request = job.request
        if token in job.end_tokens and not (request.stopping.include_stop and token in request.stopping.stop_token_ids):
            return b""
        return self._vocab.piece(token) if request.skip_special_tokens else self._vocab.control_text(token)
