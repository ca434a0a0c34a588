"""`POST /v1/chat/completions`."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request

from app.api.answer import Choice, new_id
from app.api.body import decode
from app.api.generation import reply
from app.api.logprobs import ChoiceLogprobs, ContentLogprobs, chat_alternatives
from app.api.messages import ignored_fields, translate_messages
from app.api.parameters import CHAT_FEATURES, ignored_parameters, translate_parameters
from app.api.reply import Reply
from app.api.wire import ChatBody
from app.orchestrator import Item, Job
from app.settings import Settings
from app.state import state_of
from backends.base import InvalidRequestError
from backends.types import Delta, FinishReason, TemplateOptions

DECODER = msgspec.json.Decoder(ChatBody)


class ChatDialect:
    """A role first and never again, then content, then the reason of the end alone."""

    id_prefix = "chatcmpl"
    whole_object = "chat.completion"
    chunk_object = "chat.completion.chunk"

    def whole(self, index: int, choice: Choice) -> dict[str, Any]:
        """A choice with its complete message."""
        message = {"role": "assistant", "content": "".join(choice.text), "refusal": None}
        if reasoning := "".join(choice.reasoning):
            message["reasoning_content"] = reasoning
        return {"index": index, "message": message, "logprobs": None, "finish_reason": choice.finish_reason}

    def opening(self, index: int) -> list[dict[str, Any]]:
        """The role."""
        return [_chunk_choice(index, {"role": "assistant", "content": None})]

    def content(self, delta: Delta) -> list[dict[str, Any]]:
        """Reasoning and text, none of them empty."""
        pieces = (("reasoning_content", delta.reasoning), ("content", delta.text))
        return [_chunk_choice(delta.index, {name: piece}) for name, piece in pieces if piece]

    def closing(self, index: int, reason: FinishReason) -> dict[str, Any]:
        """An empty delta."""
        return _chunk_choice(index, {}, reason)

    def logprobs(self) -> ChoiceLogprobs:
        """Those of the content."""
        return ContentLogprobs()


async def chat_completions(request: Request) -> Reply[Item]:
    """Answer a conversation, whole or as a stream."""
    body = decode(await request.body(), DECODER)
    job = chat_job(body, new_id(ChatDialect.id_prefix), state_of(request).settings)
    ignored = [*ignored_parameters(body), *ignored_fields(body.messages)]
    return await reply(request, body, job, ChatDialect(), ignored)


def chat_job(body: ChatBody, job_id: str, settings: Settings) -> Job:
    """What the orchestrator shall do."""
    shared = translate_parameters(body, job_id, CHAT_FEATURES, settings)
    conversation = translate_messages(body.messages)
    request = msgspec.structs.replace(
        shared, messages=conversation, template=_template(body), logprobs=chat_alternatives(body)
    )
    return Job(job_id, body.model, (request,))


def _template(body: ChatBody) -> TemplateOptions:
    goes_on = bool(body.continue_final_message)
    if goes_on and body.add_generation_prompt:
        raise InvalidRequestError(
            "'continue_final_message' and 'add_generation_prompt' exclude each other", param="continue_final_message"
        )
    opens = not goes_on if body.add_generation_prompt is None else body.add_generation_prompt
    return TemplateOptions(add_generation_prompt=opens, continue_final_message=goes_on)


def _chunk_choice(index: int, delta: dict[str, Any], reason: FinishReason | None = None) -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": reason}
