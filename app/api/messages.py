"""A conversation as clients send it becomes one as engines take it, or an error that names the message at fault."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast, get_args

import msgspec

from app.api.body import shortened
from app.api.wire import Echoed, WireMessage, WirePart, WireToolCall
from backends.base import InvalidRequestError, UnsupportedError
from backends.types import Message, Role, TextPart, ToolCall

ROLES = (*get_args(Role), "developer")
NOTHING: tuple[Any, ...] = (msgspec.UNSET, None, [], {})


def translate_messages(wire: Sequence[WireMessage]) -> tuple[Message, ...]:
    """The conversation, with `developer` messages as `system` ones and all system messages merged into the first.

    Raises:
        InvalidRequestError: an unknown role, missing content, or a tool message that answers no call.
        UnsupportedError: a content part that is not text.
    """
    known_calls: set[str] = set()
    messages = []
    for index, message in enumerate(wire):
        place = f"messages[{index}]"
        _check(message, place, known_calls)
        known_calls.update(call.id for call in message.tool_calls or ())
        messages.append(_message(message, place))
    return merge_system(messages)


def merge_system(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The first system message says what all of them say, joined by blank lines; the others are gone."""
    system = [message for message in messages if message.role == "system"]
    if len(system) < 2:
        return tuple(messages)
    text = "\n\n".join(message.text for message in system)
    merged = msgspec.structs.replace(system[0], parts=(TextPart(text),))
    kept = (merged if message is system[0] else message for message in messages)
    return tuple(message for message in kept if message is merged or message.role != "system")


def ignored_fields(wire: Sequence[WireMessage]) -> list[str]:
    """Names of the fields, given in any message, that servers put into answers and that mean nothing in a history."""
    found = {name for message in wire for name in Echoed.__struct_fields__ if getattr(message, name) not in NOTHING}
    return [f"messages[].{name}" for name in sorted(found)]


def _check(message: WireMessage, place: str, known_calls: set[str]) -> None:
    if message.role not in ROLES:
        raise InvalidRequestError(
            f"'{place}.role' must be one of {', '.join(ROLES)}, not '{shortened(message.role)}'", param=f"{place}.role"
        )
    if message.content is None and not (message.role == "assistant" and _says_otherwise(message)):
        raise InvalidRequestError(f"'{place}.content' is missing", param=f"{place}.content")
    if message.tool_calls and message.role != "assistant":
        raise InvalidRequestError(f"Only assistant messages have '{place}.tool_calls'", param=f"{place}.tool_calls")
    if message.role == "tool" and message.tool_call_id not in known_calls:
        problem = "answers no earlier tool call" if message.tool_call_id else "is missing"
        raise InvalidRequestError(f"'{place}.tool_call_id' {problem}", param=f"{place}.tool_call_id")


def _says_otherwise(message: WireMessage) -> bool:
    return bool(message.tool_calls or message.reasoning_content or message.reasoning)


def _message(message: WireMessage, place: str) -> Message:
    return Message(
        role="system" if message.role == "developer" else cast(Role, message.role),
        parts=_parts(message.content, place),
        name=message.name,
        tool_calls=tuple(_call(call, f"{place}.tool_calls[{i}]") for i, call in enumerate(message.tool_calls or ())),
        tool_call_id=message.tool_call_id,
        reasoning=message.reasoning_content or message.reasoning,
    )


def _parts(content: str | list[WirePart] | None, place: str) -> tuple[TextPart, ...]:
    if content is None:
        return ()
    if isinstance(content, str):
        return (TextPart(content),)
    if not content:
        raise InvalidRequestError(f"'{place}.content' has no parts", param=f"{place}.content")
    return tuple(_part(part, f"{place}.content[{index}]") for index, part in enumerate(content))


def _part(part: WirePart, place: str) -> TextPart:
    if part.type not in ("text", "refusal"):
        raise UnsupportedError(f"'{place}': parts of type '{shortened(part.type)}' are not supported", param=place)
    text = part.text if part.type == "text" else part.refusal
    if text is None:
        raise InvalidRequestError(f"'{place}.{part.type}' is missing", param=f"{place}.{part.type}")
    return TextPart(text)


def _call(call: WireToolCall, place: str) -> ToolCall:
    if call.type != "function":
        raise UnsupportedError(f"'{place}.type' must be 'function'", param=f"{place}.type")
    return ToolCall(id=call.id, name=call.function.name, arguments=call.function.arguments)
