"""Conversations."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from app.api.messages import ignored_fields, translate_messages
from app.api.wire import WireMessage
from backends.base import InvalidRequestError, UnsupportedError
from backends.types import Message, TextPart, ToolCall

CALL = {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
CALLING = {"role": "assistant", "content": None, "tool_calls": [CALL]}


def wire(*messages: dict[str, Any]) -> list[WireMessage]:
    return msgspec.convert(messages, list[WireMessage])


def translate(*messages: dict[str, Any]) -> tuple[Message, ...]:
    return translate_messages(wire(*messages))


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def refused(*messages: dict[str, Any]) -> str | None:
    """The parameter at fault."""
    with pytest.raises(InvalidRequestError) as caught:
        translate(*messages)
    assert caught.value.param is not None
    assert caught.value.param in caught.value.message
    return caught.value.param


def test_a_text_is_one_part() -> None:
    assert translate(user("Hi")) == (Message("user", (TextPart("Hi"),)),)


def test_text_parts_join() -> None:
    (message,) = translate(user([{"type": "text", "text": "a "}, {"type": "text", "text": "b"}]))
    assert message.text == "a b"


def test_an_empty_text_is_a_text() -> None:
    assert translate(user(""))[0].text == ""


def test_developer_is_system() -> None:
    assert translate({"role": "developer", "content": "Be brief."}, user("Hi"))[0].role == "system"


def test_several_system_messages_merge_into_the_first() -> None:
    found = translate(
        {"role": "system", "content": "One."}, user("Hi"), {"role": "developer", "content": "Two."}, user("you")
    )
    assert [(message.role, message.text) for message in found] == [
        ("system", "One.\n\nTwo."),
        ("user", "Hi"),
        ("user", "you"),
    ]


def test_equal_system_messages_merge_too() -> None:
    same = {"role": "system", "content": "Same."}
    assert [message.text for message in translate(same, user("Hi"), same)] == ["Same.\n\nSame.", "Hi"]


def test_names_pass() -> None:
    assert translate({**user("Hi"), "name": "ann"})[0].name == "ann"


def test_an_assistant_without_content_but_with_tool_calls_is_valid() -> None:
    message = translate(user("Hi"), CALLING)[1]
    assert (message.text, message.tool_calls) == ("", (ToolCall("call_1", "add", '{"a": 1}'),))


def test_a_tool_message_answers_an_earlier_call() -> None:
    found = translate(user("Hi"), CALLING, {"role": "tool", "tool_call_id": "call_1", "content": "2"})
    assert (found[2].role, found[2].tool_call_id, found[2].text) == ("tool", "call_1", "2")


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_reasoning_comes_back_under_both_spellings(field: str) -> None:
    assert translate({"role": "assistant", "content": "A.", field: "Because."})[0].reasoning == "Because."
    assert translate({"role": "assistant", "content": None, field: "Because."})[0].text == ""


def test_a_refusal_part_of_an_earlier_answer_is_text() -> None:
    assert translate({"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]})[0].text == "No."


@pytest.mark.parametrize("kind", ["image_url", "input_audio", "file", "video_url", "", "x" * 1000])
def test_other_parts_are_unsupported(kind: str) -> None:
    with pytest.raises(UnsupportedError) as caught:
        translate(user("Hi"), user([{"type": "text", "text": "See"}, {"type": kind, kind or "x": {"url": "u"}}]))
    assert caught.value.param == "messages[1].content[1]"
    assert len(caught.value.message) < 300


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ({"role": "robot", "content": "x"}, "messages[1].role"),
        ({"role": "function", "content": "x", "name": "f"}, "messages[1].role"),
        ({"role": "user"}, "messages[1].content"),
        ({"role": "user", "content": None}, "messages[1].content"),
        ({"role": "system", "content": []}, "messages[1].content"),
        ({"role": "user", "content": [{"type": "text"}]}, "messages[1].content[0].text"),
        ({"role": "assistant"}, "messages[1].content"),
        ({"role": "assistant", "tool_calls": []}, "messages[1].content"),
        ({"role": "user", "content": "x", "tool_calls": [CALL]}, "messages[1].tool_calls"),
        ({"role": "tool", "content": "x"}, "messages[1].tool_call_id"),
        ({"role": "tool", "content": "x", "tool_call_id": "call_9"}, "messages[1].tool_call_id"),
        ({"role": "tool", "tool_call_id": "call_1"}, "messages[1].content"),
        ({**CALLING, "tool_calls": [{**CALL, "type": "custom"}]}, "messages[1].tool_calls[0].type"),
    ],
)
def test_malformed_history_names_the_message(message: dict[str, Any], param: str) -> None:
    assert refused(user("Hi"), message) == param


def test_what_servers_add_to_answers_is_ignored_but_not_in_silence() -> None:
    empty: dict[str, Any] = {"role": "assistant", "content": "A", "refusal": None, "annotations": [], "audio": None}
    full = {"role": "assistant", "content": "A", "reasoning_details": [{"a": 1}], "refusal": "no"}
    assert ignored_fields(wire(empty)) == []
    assert ignored_fields(wire(empty, full)) == ["messages[].reasoning_details", "messages[].refusal"]
