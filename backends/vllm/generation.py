"""One request's way through vLLM: a generation for each of its choices, and their outputs as one stream of events."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from itertools import count
from typing import Any

from vllm import SamplingParams
from vllm.exceptions import VLLMClientError
from vllm.inputs import tokens_input
from vllm.lora.request import LoRARequest
from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams
from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

from backends.base import EngineError, InvalidRequestError, ModelUnavailableError
from backends.echo import as_echoed, echo_deltas, first_of_prompt
from backends.types import Accepted, Delta, Event, Timings, TokenLogprob
from backends.vllm.job import Choice, Job, token_logprob
from backends.vllm.sampling import constraint_fields, sampling_fields
from backends.vocabulary import BaseVocabulary

log = logging.getLogger(__name__)

_Item = Event | EngineError | None
_LONGEST_REASON = 600


class Generation:
    """Runs jobs on one `AsyncLLM`; vLLM batches them. All methods belong to one event loop."""

    def __init__(
        self, llm: Any, vocab: BaseVocabulary, adapters: Mapping[str, str], died: Callable[[], EngineError]
    ) -> None:
        """`adapters` are folders by their names.

        `died` is called when vLLM's engine core is found dead; if it returns, it says what clients are told.
        """
        self._llm = llm
        self._vocab = vocab
        self._adapters = {
            name: LoRARequest(name, place + 1, path) for place, (name, path) in enumerate(adapters.items())
        }
        self._died = died
        self._numbers = count(1)
        self.count: Counter[str] = Counter()

    @property
    def adapters(self) -> Sequence[str]:
        """Names of the LoRA adapters."""
        return tuple(self._adapters)

    async def load_adapters(self) -> None:
        """Let vLLM read the adapters, so that one that does not fit is found before anybody asks for it.

        Raises:
            ModelUnavailableError: names the adapter, and why vLLM refuses it.
        """
        for name, request in self._adapters.items():
            # vLLM says no with a bare exception; as a result it need not be caught with everything else.
            found: tuple[Any, ...] = await asyncio.gather(self._llm.add_lora(request), return_exceptions=True)
            if isinstance(found[0], BaseException):
                reason = " ".join(str(found[0]).split())[:_LONGEST_REASON]
                raise ModelUnavailableError(f"the LoRA adapter '{name}' cannot be used: {reason}")

    async def events(self, job: Job) -> AsyncGenerator[Event]:
        """`Accepted` when the engine has begun, then the deltas of all choices as they come."""
        inbox: asyncio.Queue[_Item] = asyncio.Queue()
        state = "waiting"
        self.count[state] += 1
        tasks = [asyncio.create_task(self._generate(job, index, inbox)) for index in range(job.request.n)]
        for task in tasks:
            task.add_done_callback(partial(_report_defect, inbox))
        try:
            unfinished = len(tasks)
            while unfinished:
                item = await inbox.get()
                if item is None:
                    unfinished -= 1
                    continue
                if isinstance(item, EngineError):
                    raise item
                if isinstance(item, Accepted):
                    self.count[state] -= 1
                    state = "running"
                    self.count[state] += 1
                yield item
        finally:
            self.count[state] -= 1
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _generate(self, job: Job, index: int, inbox: asyncio.Queue[_Item]) -> None:
        """One choice; what it has to say goes into `inbox`, at last an error or `None`."""
        choice = Choice(job, self._vocab, index)
        try:
            async with aclosing(self._outputs(job, index)) as outputs:
                async for output in outputs:
                    self._begin(job, choice, output, inbox)
                    if delta := self._advance(job, choice, output):
                        inbox.put_nowait(delta)
                    if choice.finish:
                        break
        except EngineDeadError:
            inbox.put_nowait(self._died())
        except VLLMClientError as error:
            inbox.put_nowait(InvalidRequestError(str(error), param=getattr(error, "parameter", None)))
        except EngineGenerateError as error:
            inbox.put_nowait(EngineError(f"vLLM failed: {error.__cause__ or error}"))
        except EngineError as error:
            inbox.put_nowait(error)
        else:
            inbox.put_nowait(None)

    def _outputs(self, job: Job, index: int) -> AsyncGenerator[Any]:
        """vLLM's own stream of outputs for a choice; closing it aborts the generation."""
        request = job.request
        prompt = tokens_input(job.prompt, cache_salt=request.cache_salt)
        constraint = job.constraint and StructuredOutputsParams(**constraint_fields(job.constraint))
        params = SamplingParams(
            **sampling_fields(job, index), structured_outputs=constraint, output_kind=RequestOutputKind.DELTA
        )
        outputs: AsyncGenerator[Any] = self._llm.generate(
            prompt,
            params,
            f"{request.id}-{next(self._numbers)}",
            lora_request=self._adapters[request.adapter] if request.adapter is not None else None,
            priority=-request.priority,
        )
        return outputs

    def _begin(self, job: Job, choice: Choice, output: Any, inbox: asyncio.Queue[_Item]) -> None:
        """At the first output of a job: its prompt is evaluated. At the first of a choice: the prompt's echo."""
        if job.cached is None:
            job.cached = output.num_cached_tokens or 0
            self.count["prompt_tokens_evaluated"] += len(job.prompt) - job.cached
            self.count["prompt_tokens_cached"] += job.cached
            inbox.put_nowait(Accepted(len(job.prompt), job.cached))
        if job.echo is not None and not choice.generated:
            for delta in self._echo(job, choice.index, output.prompt_logprobs):
                inbox.put_nowait(delta)

    def _advance(self, job: Job, choice: Choice, output: Any) -> Delta | None:
        (completion,) = output.outputs
        if not job.max_new:  # vLLM has drawn a token that nobody asked for
            choice.end("length")
        else:
            before = choice.generated
            choice.take(completion.token_ids, completion.logprobs)
            self.count["tokens_generated"] += choice.generated - before
        if output.finished:
            if completion.finish_reason not in ("stop", "length"):
                raise EngineError(f"vLLM ended the answer: {completion.finish_reason}")
            choice.end(completion.finish_reason)
        return choice.delta(_timings(output.metrics))

    def _echo(self, job: Job, index: int, found: Sequence[Mapping[int, Any] | None] | None) -> list[Delta]:
        text, wanted, vocab = job.echo or "", job.request.prompt_logprobs, self._vocab
        if wanted is None or not found:
            return [Delta(index, text)]
        entries: list[TokenLogprob] = [first_of_prompt(job.prompt[0], vocab.control_text)]
        for token, entry in zip(job.prompt[1:], found[1:], strict=True):
            entries.append(token_logprob(token, entry or {}, wanted, vocab))
        return echo_deltas(index, text, as_echoed(entries, text, lambda token: bool(vocab.piece(token))))


def _report_defect(inbox: asyncio.Queue[_Item], task: asyncio.Task[None]) -> None:
    """Let a bug end the stream whose choice it has ended, instead of leaving its reader to wait."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("internal error of the engine", exc_info=error)
        inbox.put_nowait(EngineError(f"internal error of the engine ({type(error).__name__})"))


def _timings(metrics: Any) -> Timings:
    """Where the time went, by the engine core's own clock."""
    if metrics is None or not metrics.first_token_ts:
        return Timings()
    return Timings(
        queue_s=max(0.0, metrics.scheduled_ts - metrics.queued_ts),
        prefill_s=max(0.0, metrics.first_token_ts - metrics.scheduled_ts),
        decode_s=max(0.0, metrics.last_token_ts - metrics.first_token_ts),
    )
