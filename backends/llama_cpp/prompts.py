"""From a request to the token ids of its prompt, checked against the context window."""

from __future__ import annotations

from dataclasses import dataclass

from backends.base import ContextLengthError, InvalidRequestError
from backends.chat_formats import ChatFormat, PromptEncoder
from backends.llama_cpp.vocab import Vocabulary
from backends.types import GenerationRequest


@dataclass(frozen=True)
class Prompt:
    """Token ids, and the texts beside the request's own that end an answer in this prompt's format."""

    ids: list[int]
    stops: tuple[str, ...] = ()


class Prompts:
    """Renders messages with the model's chat format and tokenises."""

    def __init__(self, vocab: Vocabulary, chat_format: ChatFormat, window: int) -> None:
        self._vocab = vocab
        self._format = chat_format
        self._encoder = PromptEncoder(vocab)
        self._window = window

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
        self._vocab.check_length(text, self._window)
        # The client of a raw prompt writes the whole of it, control tokens included, as it would for llama-server.
        return Prompt(self._vocab.encode_prompt(text, special=True))

    async def _chat(self, request: GenerationRequest) -> Prompt:
        messages = request.messages or ()
        for message in messages:
            # Before the template and the tokeniser spend time on a text that can never fit.
            self._vocab.check_length(message.text, self._window)
        segments = await self._format.render(messages, request.template, request.tools)
        return Prompt(self._encoder.encode(segments), self._format.stop)

    def _checked(self, ids: tuple[int, ...]) -> list[int]:
        for position, token in enumerate(ids):
            if not 0 <= token < self._vocab.size:
                raise InvalidRequestError(
                    f"{token} at position {position} is not a token id of this model (0 to {self._vocab.size - 1})",
                    param="prompt",
                )
        return list(ids)
