"""Chat formats written down as data: what stands before and after each role's text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from msgspec import Struct

from backends.base import InvalidRequestError, UnsupportedError
from backends.chat_formats.base import Segment
from backends.types import Message, Role, TemplateOptions, Tool


class Turn(Struct, frozen=True, forbid_unknown_fields=True):
    """What the format writes around the text of one role."""

    prefix: str
    suffix: str = ""


class TurnLayout(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One format. The built-in ones and the files that users write have this same shape (docs/chat-formats.md).

    `system` says where a system message goes: into a turn of its own, or in front of the first or last user's text,
    for models that know no such role. `bos` begins the prompt with the vocabulary's BOS, `ending` closes a conversation
    that is not to be answered, `trim` takes whitespace off both ends of every text.
    """

    name: str
    turns: dict[Role, Turn]
    generation_prompt: str
    system: Literal["turn", "first_user", "last_user"] = "turn"
    system_separator: str = "\n\n"
    bos: bool = False
    trim: bool = False
    ending: str = ""
    stop: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Text:
    """A message on its way into a prompt."""

    role: Role
    segments: tuple[Segment, ...]


class TurnFormat:
    """Renders conversations by a `TurnLayout`. `bos` is the text of the vocabulary's BOS token."""

    def __init__(self, layout: TurnLayout, bos: str = "") -> None:
        self._layout = layout
        self._bos = bos if layout.bos else ""

    @property
    def name(self) -> str:
        return self._layout.name

    @property
    def stop(self) -> tuple[str, ...]:
        return self._layout.stop

    async def render(
        self, messages: Sequence[Message], options: TemplateOptions, tools: Sequence[Tool] = ()
    ) -> list[Segment]:
        if tools:
            raise UnsupportedError(f"the chat format {self.name!r} has no way to offer tools", param="tools")
        texts = _place_system([self._text(message) for message in messages], self._layout)
        return [segment for segment in self._segments(texts, options) if segment.text]

    async def close(self) -> None:
        """Nothing is held."""

    def _text(self, message: Message) -> _Text:
        if message.tool_calls:
            raise UnsupportedError(f"the chat format {self.name!r} has no way to write tool calls", param="messages")
        text = message.text.strip() if self._layout.trim else message.text
        return _Text(message.role, (Segment(text, scaffold=False),))

    def _segments(self, texts: Sequence[_Text], options: TemplateOptions) -> Iterator[Segment]:
        yield Segment(self._bos, scaffold=True)
        for text in texts[:-1]:
            yield from self._turn(text)
        if options.continue_final_message:
            yield from list(self._turn(texts[-1]))[:-1]
            return
        yield from self._turn(texts[-1])
        yield Segment(
            self._layout.generation_prompt if options.add_generation_prompt else self._layout.ending, scaffold=True
        )

    def _turn(self, text: _Text) -> Iterator[Segment]:
        turn = self._layout.turns.get(text.role)
        if turn is None:
            raise UnsupportedError(f"the chat format {self.name!r} has no role {text.role!r}", param="messages")
        yield Segment(turn.prefix, scaffold=True)
        yield from text.segments
        yield Segment(turn.suffix, scaffold=True)


def _place_system(texts: Sequence[_Text], layout: TurnLayout) -> list[_Text]:
    """The turns to write, in order. A system message without text says nothing and is left out."""
    spoken = [text for text in texts if text.role != "system" or any(s.text for s in text.segments)]
    if not spoken:
        raise InvalidRequestError("messages: there is nothing to answer", param="messages")
    system = [text for text in spoken if text.role == "system"]
    if layout.system == "turn" or not system:
        return spoken
    others = [text for text in spoken if text.role != "system"]
    users = [index for index, text in enumerate(others) if text.role == "user"]
    if not users:
        # A conversation with nobody asking: the instruction itself is all there is to answer.
        return [_Text("user", tuple(s for text in system for s in text.segments)), *others]
    host = users[0] if layout.system == "first_user" else users[-1]
    others[host] = _Text("user", (*_instruction(system, layout.system_separator), *others[host].segments))
    return others


def _instruction(system: Iterable[_Text], separator: str) -> Iterator[Segment]:
    for text in system:
        yield from text.segments
        yield Segment(separator, scaffold=True)
