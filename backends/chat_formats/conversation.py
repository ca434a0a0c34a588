"""Messages and tools in the shape that chat templates expect: the dictionaries of Hugging Face and OpenAI."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from backends.types import Message, TemplateOptions, Tool, ToolCall

MESSAGE_TEXTS = ("content", "reasoning_content", "thinking")
"""The fields of a message that a template writes out as they are."""


def template_variables(messages: Sequence[Message], options: TemplateOptions, tools: Sequence[Tool]) -> dict[str, Any]:
    """What a template sees of a request."""
    return {
        "messages": [_message(message) for message in messages],
        "tools": [_tool(tool) for tool in tools] or None,
        "documents": None,
        "add_generation_prompt": options.add_generation_prompt and not options.continue_final_message,
    }


def _message(message: Message) -> dict[str, Any]:
    """Absent fields are absent, not null: templates ask whether they are defined."""
    optional = {
        "name": message.name,
        "tool_calls": [_tool_call(call) for call in message.tool_calls] or None,
        "tool_call_id": message.tool_call_id,
        "reasoning_content": message.reasoning,
        "thinking": message.reasoning,  # what gpt-oss calls it
    }
    return {"role": message.role, "content": message.text} | {k: v for k, v in optional.items() if v is not None}


def _tool_call(call: ToolCall) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": _arguments(call.arguments)}}


def _arguments(text: str) -> Any:
    """Templates loop over arguments, so an object becomes a dictionary; anything else stays the text it is."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, dict) else text


def _tool(tool: Tool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        function["description"] = tool.description
    function["parameters"] = tool.parameters or {"type": "object", "properties": {}}
    return {"type": "function", "function": function}


def map_strings(value: Any, change: Callable[[str], str]) -> Any:
    """The same value with every string in it changed, keys too."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {change(key): map_strings(item, change) for key, item in value.items()}
    if isinstance(value, list):
        return [map_strings(item, change) for item in value]
    return value


def with_typed_content(variables: dict[str, Any]) -> dict[str, Any]:
    """Texts as lists of parts, for templates that know no other form."""
    messages = [m | {"content": [{"type": "text", "text": m["content"]}]} for m in variables["messages"]]
    return variables | {"messages": messages}


def with_system_folded(variables: dict[str, Any]) -> dict[str, Any]:
    """Instructions at the head of the first user's text, for templates that have no place for them."""
    system = [m["content"] for m in variables["messages"] if m["role"] == "system"]
    others = [m for m in variables["messages"] if m["role"] != "system"]
    host = next((i for i, m in enumerate(others) if m["role"] == "user"), None)
    if not system or host is None:
        return variables
    others[host] = others[host] | {"content": "\n\n".join([*system, others[host]["content"]])}
    return variables | {"messages": others}


def with_final_tag(variables: dict[str, Any], tag: str) -> dict[str, Any]:
    """A tag behind the last message's text."""
    *others, last = variables["messages"]
    return variables | {"messages": [*others, last | {"content": last["content"] + tag}]}
