"""Messages in few words, conversations that every format has to write, and `transformers`' way of writing them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from backends.base import EngineError
from backends.chat_formats.base import ChatFormat, Segment
from backends.chat_formats.conversation import template_variables
from backends.chat_formats.renderer import Load, Rendered, chat_environment, compile_template, render
from backends.types import Message, TemplateOptions, TextPart, Tool, ToolCall

ANSWER = TemplateOptions()
NO_ANSWER = TemplateOptions(add_generation_prompt=False)
CONTINUE = TemplateOptions(continue_final_message=True)


def system(text: str) -> Message:
    return Message("system", (TextPart(text),))


def user(text: str) -> Message:
    return Message("user", (TextPart(text),))


def assistant(text: str, reasoning: str | None = None) -> Message:
    return Message("assistant", (TextPart(text),), reasoning=reasoning)


PLAIN = {
    "one question": [user("Hello")],
    "with system": [system("Be brief."), user("Hello")],
    "several turns": [user("Hello "), assistant(" Hi!\n"), user("\nWhat is 2 < 3?")],
    "system and turns": [system("Be brief."), user("Grüße 👋"), assistant("Hi!"), user("Bye\n\n")],
    "reasoning in history": [user("Hello"), assistant("Hi!", reasoning="They greet."), user("Bye")],
}
OPEN_ENDED = {
    "after a system message": [system("Be brief."), user("Hello"), assistant("Once upon ")],
    "trailing line break": [user("Count"), assistant("1\n2\n")],
}
WEATHER = Tool("get_weather", "Weather of a city", {"type": "object", "properties": {"city": {"type": "string"}}})
TOOL_USE = [
    user("Weather?"),
    Message("assistant", tool_calls=(ToolCall("call12345", "get_weather", '{"city": "Paris"}'),)),
    Message("tool", (TextPart('{"temperature": 20}'),), name="get_weather", tool_call_id="call12345"),
    assistant("20 degrees."),
    user("Thanks"),
]


class InProcessSandbox:
    """The child's own code without the child, for templates that are known to behave."""

    def __init__(self, template: str, bos: str, eos: str) -> None:
        compiled = compile_template(_environment(), Load(template, bos, eos))
        assert not isinstance(compiled, Rendered), compiled.reason
        self._template = compiled

    async def render(self, variables: list[dict[str, Any]]) -> list[Rendered]:
        return [render(self._template, v) for v in variables]

    async def close(self) -> None:
        """Nothing is held."""


@cache
def _environment() -> Any:
    return chat_environment()


def reference(
    template: str,
    messages: Sequence[Message],
    options: TemplateOptions = ANSWER,
    tools: Sequence[Tool] = (),
    tokens: tuple[str, str] = ("<s>", "</s>"),
) -> str | None:
    """What `transformers` makes of a conversation, with these BOS and EOS; `None` where the template fails in it."""
    from jinja2.exceptions import TemplateError
    from transformers.utils.chat_template_utils import render_jinja_template

    variables = template_variables(messages, options, tools)
    variables |= {"bos_token": tokens[0], "eos_token": tokens[1]}
    variables["continue_final_message"] = options.continue_final_message
    conversations = [variables.pop("messages")]
    try:
        texts, _ = render_jinja_template(conversations, chat_template=template, **variables)
    except (TemplateError, TypeError, ValueError):
        return None
    return str(texts[0])


async def segments_of(
    chat_format: ChatFormat, messages: Sequence[Message], options: TemplateOptions = ANSWER, tools: Sequence[Tool] = ()
) -> list[Segment] | None:
    """What a format makes of a conversation; `None` where it refuses."""
    try:
        return await chat_format.render(messages, options, tools)
    except EngineError:
        return None


def text_of(segments: Sequence[Segment] | None) -> str | None:
    return None if segments is None else "".join(segment.text for segment in segments)
