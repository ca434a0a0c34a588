"""What one training or test conversation is, and how it becomes ChatML text."""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

TOOLS_HEAD = (
    "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
    "You are provided with function signatures within <tools></tools> XML tags:\n<tools>"
)
TOOLS_TAIL = (
    "\n</tools>\n\nFor each function call, return a json object with function name and arguments within "
    "<tool_call></tool_call> XML tags:\n<tool_call>\n"
    '{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>'
)

# The Jinja twin of `render`; it is stored in the GGUF as `tokenizer.chat_template`.
CHAT_TEMPLATE = (
    """{%- set has_system = messages and messages[0].role == 'system' %}
{%- if tools or has_system %}
    {{- '<|im_start|>system\\n' }}
    {%- if has_system %}{{- messages[0].content }}{%- endif %}
    {%- if tools %}
        {%- if has_system %}{{- '\\n\\n' }}{%- endif %}
        {{- """
    + json.dumps(TOOLS_HEAD)
    + """ }}
        {%- for tool in tools %}{{- '\\n' }}{{- tool | tojson }}{%- endfor %}
        {{- """
    + json.dumps(TOOLS_TAIL)
    + """ }}
    {%- endif %}
    {{- '<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if message.role == 'tool' %}
        {%- if loop.first or messages[loop.index0 - 1].role != 'tool' %}{{- '<|im_start|>user' }}{%- endif %}
        {{- '\\n<tool_response>\\n' }}{{- message.content }}{{- '\\n</tool_response>' }}
        {%- if loop.last or messages[loop.index0 + 1].role != 'tool' %}{{- '<|im_end|>\\n' }}{%- endif %}
    {%- elif message.role == 'assistant' %}
        {{- '<|im_start|>assistant\\n' }}
        {%- if message.content %}{{- message.content }}{%- endif %}
        {%- for call in message.tool_calls or [] %}
            {%- if not loop.first or message.content %}{{- '\\n' }}{%- endif %}
            {%- set function = call.function or call %}
            {{- '<tool_call>\\n{"name": "' }}{{- function.name }}{{- '", "arguments": ' }}
            {%- if function.arguments is string %}{{- function.arguments }}
            {%- else %}{{- function.arguments | tojson }}{%- endif %}
            {{- '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif not (message.role == 'system' and loop.first) %}
        {{- '<|im_start|>' }}{{- message.role }}{{- '\\n' }}{{- message.content }}{{- '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"""
)


@dataclass(frozen=True)
class Turn:
    """One message. `role` is system, user, assistant or tool."""

    role: str
    content: str


@dataclass(frozen=True)
class Example:
    """A conversation that ends with the assistant's right answer.

    `combos` names the combinations the example is made of, the most telling one first: an example is held out for
    the evaluation when that first one is, and is used for training when none of them is.
    `accept` lists further answers that count as right.
    """

    kind: str
    combos: tuple[str, ...]
    turns: tuple[Turn, ...]
    tools: tuple[Json, ...] = ()
    accept: tuple[str, ...] = ()


Generator = Callable[[random.Random], Example]


def ask(kind: str, combo: str, question: str, answer: str) -> Example:
    """The plainest example: one question, one answer."""
    return Example(kind, (combo,), (Turn("user", question), Turn("assistant", answer)))


def tool_call(name: str, arguments: Json) -> str:
    """An assistant's call of a tool, as Hermes and Qwen2.5 write it."""
    body = json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False)
    return f"<tool_call>\n{body}\n</tool_call>"


def system_text(content: str, tools: tuple[Json, ...], sort_keys: bool = False) -> str:
    """The system turn's content with the tool definitions appended; empty when there is neither."""
    if not tools:
        return content
    lines = "".join("\n" + json.dumps(tool, ensure_ascii=False, sort_keys=sort_keys) for tool in tools)
    return (content + "\n\n" if content else "") + TOOLS_HEAD + lines + TOOLS_TAIL


def render(turns: tuple[Turn, ...], tools: tuple[Json, ...] = (), sort_keys: bool = False) -> list[tuple[str, bool]]:
    """The conversation as pieces of text, each with whether the model is to learn it (the assistant's own words)."""
    first = turns[0].content if turns[0].role == "system" else ""
    system = system_text(first, tools, sort_keys)
    pieces: list[tuple[str, bool]] = []
    if system or turns[0].role == "system":
        pieces.append((f"<|im_start|>system\n{system}<|im_end|>\n", False))
    rest = turns[1:] if turns[0].role == "system" else turns
    for index, turn in enumerate(rest):
        if turn.role == "assistant":
            pieces += [("<|im_start|>assistant\n", False), (turn.content + "<|im_end|>", True), ("\n", False)]
        elif turn.role == "tool":
            opens = index == 0 or rest[index - 1].role != "tool"
            closes = index + 1 == len(rest) or rest[index + 1].role != "tool"
            body = f"\n<tool_response>\n{turn.content}\n</tool_response>"
            pieces.append((("<|im_start|>user" if opens else "") + body + ("<|im_end|>\n" if closes else ""), False))
        else:
            pieces.append((f"<|im_start|>{turn.role}\n{turn.content}<|im_end|>\n", False))
    return pieces


def prompt(example: Example, sort_keys: bool = False) -> str:
    """The text the model is given: everything but the last answer, with the assistant's turn opened."""
    pieces = render(example.turns[:-1], example.tools, sort_keys)
    return "".join(text for text, _ in pieces) + "<|im_start|>assistant\n"
