"""A model's own Jinja template as a chat format."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from backends.base import EngineError, InvalidRequestError, ModelUnavailableError
from backends.chat_formats.base import Segment, Tokenizer
from backends.chat_formats.conversation import (
    template_variables,
    with_final_tag,
    with_system_folded,
    with_typed_content,
)
from backends.chat_formats.encoding import any_of, marker_tokens, token_text
from backends.chat_formats.renderer import Load, Rendered
from backends.chat_formats.sandbox import TemplateSandbox, describe
from backends.chat_formats.veil import Veil
from backends.types import Message, TemplateOptions, TextPart, Tool


class Sandbox(Protocol):
    """Where one template renders."""

    async def render(self, variables: list[dict[str, Any]]) -> list[Rendered]:
        """One answer per set of variables, in order."""
        ...

    async def close(self) -> None:
        """Release it."""
        ...


class _Needs(NamedTuple):
    """What a template cannot take as it comes."""

    typed_content: bool
    folded_system: bool


class TemplateFormat:
    """Renders in a child process; `open` starts it."""

    name = "template"
    stop: tuple[str, ...] = ()

    def __init__(self, sandbox: Sandbox, markers: re.Pattern[str], needs: _Needs) -> None:
        self._sandbox = sandbox
        self._markers = markers
        self._needs = needs

    @classmethod
    async def open(cls, template: str, tokenizer: Tokenizer) -> TemplateFormat:
        """Start the child, compile the template and see that it can render.

        Raises:
            ModelUnavailableError: it does not compile, or passes a limit on the shortest of conversations.
        """
        bos, eos = (token_text(tokenizer, token) for token in (tokenizer.bos, tokenizer.eos))
        sandbox = TemplateSandbox(Load(template, bos, eos))
        try:
            await sandbox.start()
            return await cls.over(sandbox, tokenizer)
        except EngineError:
            await sandbox.close()
            raise

    @classmethod
    async def over(cls, sandbox: Sandbox, tokenizer: Tokenizer) -> TemplateFormat:
        """A format that renders in a sandbox which holds its template already."""
        return cls(sandbox, any_of(marker_tokens(tokenizer)), await _probe(sandbox))

    async def render(
        self, messages: Sequence[Message], options: TemplateOptions, tools: Sequence[Tool] = ()
    ) -> list[Segment]:
        if not messages:
            raise InvalidRequestError("messages: there is nothing to answer", param="messages")
        variables = template_variables(messages, options, tools)
        if self._needs.folded_system:
            variables = with_system_folded(variables)
        request = _Request(self, Veil(self._markers), variables, options.continue_final_message)
        return [segment for segment in await request.segments() if segment.text]

    async def renderings(self, variables: Sequence[dict[str, Any]]) -> list[Rendered]:
        """What the template makes of each set of variables."""
        typed = [with_typed_content(v) for v in variables] if self._needs.typed_content else list(variables)
        return await self._sandbox.render(typed)

    async def close(self) -> None:
        await self._sandbox.close()


class _Request:
    """One conversation on its way through the template."""

    def __init__(self, owner: TemplateFormat, veil: Veil, variables: dict[str, Any], open_ended: bool) -> None:
        self._owner = owner
        self._veil = veil
        self._variables = variables
        self._open_ended = open_ended

    async def segments(self) -> list[Segment]:
        veiled, plain = await self._render(self._veil.hide_texts(self._variables), self._variables)
        if plain.fault:
            raise _refusal(plain)
        aligned = None if veiled.fault else self._veil.align(veiled.text, plain.text)
        return aligned if aligned is not None else await self._by_markers(veiled, plain)

    async def _by_markers(self, veiled: Rendered, plain: Rendered) -> list[Segment]:
        """For templates that look into the texts."""
        neutral_variables = self._veil.hide_markers(self._variables)
        if neutral_variables == self._variables:
            return [Segment(plain.text, True)]
        marked, neutral = await self._render(self._veil.mark_markers(self._variables), neutral_variables)
        if not marked.fault and not veiled.fault:
            segments = self._veil.unmark(marked.text, plain=plain.text, veiled=veiled.text)
            if segments is not None:
                return segments
        if neutral.fault:
            raise _refusal(neutral)
        return self._veil.reveal(neutral.text)

    async def _render(self, *variables: dict[str, Any]) -> list[Rendered]:
        if not self._open_ended:
            return await self._owner.renderings(variables)
        tagged = [with_final_tag(v, self._veil.final_tag) for v in variables]
        return [_cut(rendered, self._veil.final_tag) for rendered in await self._owner.renderings(tagged)]


def _cut(rendered: Rendered, tag: str) -> Rendered:
    """The rendering up to the end of its final message. As in `transformers`, a template that trims is respected."""
    if rendered.fault:
        return rendered
    end = rendered.text.rfind(tag.rstrip())
    if end < 0:
        raise InvalidRequestError(
            "the model's chat template does not write the end of the final message, so it cannot be continued",
            param="continue_final_message",
        )
    text = rendered.text[:end]
    return Rendered(text if rendered.text.startswith(tag, end) else text.rstrip())


def _refusal(rendered: Rendered) -> InvalidRequestError:
    if rendered.fault == "raised":
        return InvalidRequestError(f"the model's chat template refuses: {rendered.reason}", param="messages")
    return InvalidRequestError(f"the model's chat template {describe(rendered)} on this conversation", param="messages")


async def _probe(sandbox: Sandbox) -> _Needs:
    """Find out by the shortest of conversations whether texts and instructions arrive."""
    instruction, text = secrets.token_hex(12), secrets.token_hex(12)
    asked = [Message("user", (TextPart(text),))]
    instructed = [Message("system", (TextPart(instruction),)), *asked]
    plain, with_system = (template_variables(messages, TemplateOptions(), ()) for messages in (asked, instructed))
    variants = [plain, with_system, with_typed_content(plain), with_typed_content(with_system)]
    answers = await sandbox.render(variants)
    if answers[0].fault == "limit":
        raise ModelUnavailableError(f"the model's chat template cannot be used: it {describe(answers[0])}")
    typed = text not in answers[0].text and text in answers[2].text
    asked_only, instructed_too = answers[2:] if typed else answers[:2]
    return _Needs(typed, text in asked_only.text and instruction not in instructed_too.text)
