"""From a request to the token ids of its prompt, checked against the context window."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial

from backends.base import ContextLengthError, InvalidRequestError
from backends.chat_formats import ChatFormat, PromptEncoder
from backends.types import GenerationRequest
from backends.vocabulary import BaseVocabulary


@dataclass(frozen=True)
class Prompt:
    """Token ids, and the texts beside the request's own that end an answer in this prompt's format."""

    ids: list[int]
    stops: tuple[str, ...] = ()


class Prompts:
    """Renders messages with the model's chat format and tokenises, on a thread of `executor`.

    A prompt that fills a long window takes so many milliseconds that the other streams' events must not wait for it.
    """

    def __init__(self, vocab: BaseVocabulary, chat_format: ChatFormat, window: int, executor: Executor) -> None:
        self._vocab = vocab
        self._format = chat_format
        self._encoder = PromptEncoder(vocab)
        self._window = window
        self._executor = executor

    async def encode(self, request: GenerationRequest) -> Prompt:
        """The request's prompt.

        Raises:
            ContextLengthError: it leaves no room in the window for a single new token.
            InvalidRequestError: token ids that the model does not have, or an empty prompt.
        """
        prompt = await self._prompt(request)
        if not prompt.ids:
            raise InvalidRequestError("the prompt is empty, and this model has no token to begin with", param="prompt")
        room = 1 if request.stopping.max_tokens != 0 else 0
        if len(prompt.ids) + room > self._window:
            raise ContextLengthError(
                f"the prompt has {len(prompt.ids)} tokens, but the context window holds {self._window}"
                " including at least one new token",
                param="messages" if request.messages is not None else "prompt",
            )
        return prompt

    async def _prompt(self, request: GenerationRequest) -> Prompt:
        if request.messages is not None:
            return await self._chat(request)
        if request.token_ids is not None:
            return Prompt(self._checked(request.token_ids))
        text = request.prompt or ""
        self._vocab.check_length(text, self._window, param="prompt")
        # The client of a raw prompt writes the whole of it, control tokens included, as for other servers.
        encode = partial(self._vocab.encode_prompt, text, special=True)
        return Prompt(await asyncio.get_running_loop().run_in_executor(self._executor, encode))

    async def _chat(self, request: GenerationRequest) -> Prompt:
        messages = request.messages or ()
        for message in messages:
            # Before the template spends time on a text that can never fit.
            self._vocab.check_length(message.text, self._window, param="messages")
        segments = await self._format.render(messages, request.template, request.tools)
        whole = "".join(segment.text for segment in segments)
        self._vocab.check_length(whole, self._window, param="messages")
        encode = partial(self._encoder.encode, segments)
        return Prompt(await asyncio.get_running_loop().run_in_executor(self._executor, encode), self._format.stop)

    def _checked(self, ids: tuple[int, ...]) -> list[int]:
        for position, token in enumerate(ids):
            if not 0 <= token < self._vocab.size:
                raise InvalidRequestError(
                    f"{token} at position {position} is not a token id of this model (0 to {self._vocab.size - 1})",
                    param="prompt",
                )
        return list(ids)
