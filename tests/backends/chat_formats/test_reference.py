"""Real templates of seventy models, against `transformers`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import pytest
import pytest_asyncio
from msgspec.structs import replace

from backends.chat_formats.builtin import LAYOUTS
from backends.chat_formats.encoding import PromptEncoder
from backends.chat_formats.template import TemplateFormat
from backends.types import Message, TextPart, ToolCall
from tests.backends.chat_formats.conversations import (
    ANSWER,
    CONTINUE,
    NO_ANSWER,
    OPEN_ENDED,
    PLAIN,
    TOOL_USE,
    WEATHER,
    InProcessSandbox,
    assistant,
    reference,
    segments_of,
    system,
    text_of,
    user,
)
from tests.sdist import models, template_files

CASES = [(messages, options) for messages in PLAIN.values() for options in (ANSWER, NO_ANSWER)]
CASES += [(messages, CONTINUE) for messages in OPEN_ENDED.values()]
# Has no place for a system message. `transformers` gives up; here the instruction goes into the user's text.
FOLDED = "google-gemma-2-2b-it"


class CharacterVocabulary:
    """One token per character, and one for everything in any real template or format that looks like a control string.

    Every second of those is user-defined, so it is recognised even with special tokens off.
    """

    add_bos = False
    bos, eos = 1, 2

    @cached_property
    def control_tokens(self) -> Mapping[str, int]:
        layouts = [
            text for one in LAYOUTS.values() for turn in one.turns.values() for text in (turn.prefix, turn.suffix)
        ]
        source = "\n".join([*(path.read_text() for path in template_files()), *layouts])
        found = re.findall(r"<[|｜/]?[\w▁:]+[|｜]?>|\[/?[A-Z_]+\]", source)
        return {text: number for number, text in enumerate(sorted({"<s>", "</s>", *found}), start=1)}

    @cached_property
    def user_defined_tokens(self) -> Mapping[str, int]:
        return {text: i for text, i in self.control_tokens.items() if i % 2 and text not in ("<s>", "</s>")}

    @cached_property
    def _patterns(self) -> dict[bool, re.Pattern[str]]:
        known = {True: self.control_tokens, False: self.user_defined_tokens}
        return {
            k: re.compile(f"({'|'.join(map(re.escape, sorted(v, key=len, reverse=True)))})") for k, v in known.items()
        }

    def encode(self, text: str, *, special: bool) -> list[int]:
        pieces = self._patterns[special].split(text)
        return [
            i for n, p in enumerate(pieces) for i in ([self.control_tokens[p]] if n % 2 else [1000 + ord(c) for c in p])
        ]

    def markers(self, ids: list[int]) -> list[int]:
        return [i for i in ids if i < 1000]


VOCABULARY = CharacterVocabulary()
ENCODER = PromptEncoder(VOCABULARY)


class Model(NamedTuple):
    """A real template, the format made of it, and a text full of control strings: its own, and every fifth of all."""

    path: Path
    chat_format: TemplateFormat
    hostile: str


async def opened(path: Path) -> Model:
    source = path.read_text()
    chat_format = await TemplateFormat.over(InProcessSandbox(source, "<s>", "</s>"), VOCABULARY)
    control = [text for text, i in VOCABULARY.control_tokens.items() if text in source or i % 5 == 0]
    return Model(path, chat_format, "x" + "y".join(control))


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=template_files(), ids=lambda path: path.stem)
async def model(request: pytest.FixtureRequest) -> Model:
    return await opened(request.param)


def spoken_to(messages: list[Message], text: str) -> list[Message]:
    """The same conversation with a text at the end of everything that was said or thought."""
    return [
        replace(m, parts=(*m.parts, TextPart(text)), reasoning=m.reasoning and m.reasoning + text) for m in messages
    ]


async def test_renders_as_transformers_does(model: Model) -> None:
    for messages, options in CASES:
        expected = reference(model.path.read_text(), messages, options)
        if expected is not None or model.path.stem != FOLDED:
            assert text_of(await segments_of(model.chat_format, messages, options)) == expected


async def test_an_instruction_goes_to_the_user_where_a_template_has_no_place_for_it() -> None:
    path, chat_format, _ = await opened(models() / "templates" / f"{FOLDED}.jinja")
    rendered = text_of(
        await segments_of(chat_format, [system("Be brief."), user("Hello"), assistant("Hi!"), user("Bye")])
    )
    folded = [user("Be brief.\n\nHello"), assistant("Hi!"), user("Bye")]
    assert rendered == reference(path.read_text(), folded)


async def test_renders_tool_use_as_transformers_does(model: Model) -> None:
    for messages in (TOOL_USE[:1], TOOL_USE[:3], TOOL_USE):
        expected = reference(model.path.read_text(), messages, ANSWER, [WEATHER])
        assert text_of(await segments_of(model.chat_format, messages, ANSWER, [WEATHER])) == expected


async def test_harmless_conversations_have_the_ids_of_the_whole_string(model: Model) -> None:
    for messages, options in CASES:
        segments = await segments_of(model.chat_format, messages, options)
        if segments is not None:
            assert ENCODER.encode(segments) == VOCABULARY.encode(text_of(segments) or "", special=True)


async def test_control_strings_in_a_conversation_add_no_control_ids(model: Model) -> None:
    for messages, options in CASES:
        plain = await segments_of(model.chat_format, spoken_to(messages, "xyz"), options)
        hostile = await segments_of(model.chat_format, spoken_to(messages, model.hostile), options)
        if hostile is None:  # a template that drops what it takes for reasoning may leave nothing to continue
            assert plain is None or options is CONTINUE
        else:
            assert VOCABULARY.markers(ENCODER.encode(hostile)) == VOCABULARY.markers(ENCODER.encode(plain or []))


async def tool_use_markers(chat_format: TemplateFormat, text: str) -> list[int] | None:
    """The control ids of a conversation about a tool, with a text in everything that a client can say of it."""
    schema = {"type": "object", "properties": {f"city{text}": {"type": "string", "description": text}}}
    messages = [replace(m, parts=tuple(TextPart(p.text + text) for p in m.parts)) for m in TOOL_USE]
    call = ToolCall("call12345", "get_weather", json.dumps({"city": text}))
    messages[1] = replace(messages[1], tool_calls=(call,))
    segments = await segments_of(chat_format, messages, ANSWER, [replace(WEATHER, description=text, parameters=schema)])
    return None if segments is None else VOCABULARY.markers(ENCODER.encode(segments))


async def test_control_strings_in_tools_add_no_control_ids(model: Model) -> None:
    assert await tool_use_markers(model.chat_format, model.hostile) == await tool_use_markers(model.chat_format, "xyz")
