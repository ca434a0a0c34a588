"""`POST /v1/completions`: text goes on where a prompt ends; several prompts in one request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from starlette.requests import Request

from app.api.answer import Choice, new_id
from app.api.body import decode
from app.api.generation import reply
from app.api.logprobs import ChoiceLogprobs, TextLogprobs, prompt_alternatives
from app.api.parameters import COMPLETION_FEATURES, ignored_parameters, translate_parameters
from app.api.reply import Reply
from app.api.wire import CompletionBody
from app.orchestrator import Item, Job
from app.settings import Settings
from app.state import state_of
from backends.base import InvalidRequestError
from backends.types import Delta, FinishReason, GenerationRequest

DECODER = msgspec.json.Decoder(CompletionBody)
Prompt = str | tuple[int, ...]


class TextDialect:
    """Text, then the reason of the end."""

    id_prefix = "cmpl"
    whole_object = chunk_object = "text_completion"

    def whole(self, index: int, choice: Choice) -> dict[str, Any]:
        """A choice with its complete text."""
        return _choice(index, "".join(choice.text), choice.finish_reason)

    def opening(self, index: int) -> list[dict[str, Any]]:  # noqa: ARG002 - text has no role
        """Nothing."""
        return []

    def content(self, delta: Delta) -> list[dict[str, Any]]:
        """The text, unless it is empty."""
        return [_choice(delta.index, delta.text)] if delta.text else []

    def closing(self, index: int, reason: FinishReason) -> dict[str, Any]:
        """An empty text."""
        return _choice(index, "", reason)

    def logprobs(self) -> ChoiceLogprobs:
        """Those of all tokens."""
        return TextLogprobs()


async def completions(request: Request) -> Reply[Item]:
    """Continue one or more prompts, whole or as a stream."""
    body = decode(await request.body(), DECODER)
    job = completion_job(body, new_id(TextDialect.id_prefix), state_of(request).settings)
    return await reply(request, body, job, TextDialect(), ignored_parameters(body))


def completion_job(body: CompletionBody, job_id: str, settings: Settings) -> Job:
    """What the orchestrator shall do: one generation per prompt."""
    shared = translate_parameters(body, job_id, COMPLETION_FEATURES, settings)
    shared = msgspec.structs.replace(
        shared, echo=bool(body.echo), logprobs=body.logprobs, prompt_logprobs=prompt_alternatives(body)
    )
    prompts, most = split_prompts(body.prompt), settings.limits.max_queue
    if len(prompts) * shared.n > most:
        raise InvalidRequestError(f"'prompt' and 'n' ask for more than {most} answers", param="prompt")
    return Job(job_id, body.model, tuple(_with_prompt(shared, i, prompt) for i, prompt in enumerate(prompts)))


def split_prompts(prompt: str | list[str | int | list[int]]) -> list[Prompt]:
    """A text, texts, token ids, or lists of token ids, as a list of prompts."""
    if isinstance(prompt, str):
        return [prompt]
    if prompt and all(isinstance(item, int) for item in prompt):
        return [tuple(prompt)]  # type: ignore[arg-type] # just checked
    mixed = InvalidRequestError("'prompt' must be a text, texts, token ids or lists of token ids", param="prompt")
    if not prompt:
        raise mixed
    return [_prompt(item, mixed) for item in prompt]


def _prompt(item: str | int | Sequence[int], error: InvalidRequestError) -> Prompt:
    if isinstance(item, int) or not (item or isinstance(item, str)):
        raise error
    return item if isinstance(item, str) else tuple(item)


def _with_prompt(shared: GenerationRequest, number: int, prompt: Prompt) -> GenerationRequest:
    name, value = ("prompt", prompt) if isinstance(prompt, str) else ("token_ids", prompt)
    return msgspec.structs.replace(shared, id=f"{shared.id}-{number}", **{name: value})


def _choice(index: int, text: str, reason: FinishReason | None = None) -> dict[str, Any]:
    return {"index": index, "text": text, "logprobs": None, "finish_reason": reason}
