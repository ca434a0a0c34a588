from __future__ import annotations

import pytest

from app.routing.human import DROPPED, human


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("plain", "plain"),
        ("<tool_result>ls: file</tool_result>what is that", "what is that"),
        ("a<context>b</context>c<file path='x'>d</file>e", "ace"),
        ("<user_query>fix it</user_query>", "fix it"),
        ("<user_query>fix <context>this</context>it</user_query>", "fix it"),
        ("<context>one <task>two</task></context>three", "three"),
        ("<context>never closed", "<context>never closed"),
        ("<context>never closed <task>x</task>", "<context>never closed x"),
        ("what is <context>? <tool_result>y</tool_result>", "what is <context>? "),
        ("<div><p>html</p></div>", "<div><p>html</p></div>"),
        ("<contexts>x</contexts>", "<contexts>x</contexts>"),
        ("<tool_result>all there is</tool_result>", "<tool_result>all there is</tool_result>"),
        ("</context>x", "</context>x"),
    ],
)
def test_only_what_a_person_wrote_is_left(text: str, found: str) -> None:
    assert human(text) == found


@pytest.mark.parametrize("name", sorted(DROPPED))
def test_a_hostile_text_takes_one_pass(name: str) -> None:
    text = f"<{name}>" * 100_000 + "</x>"
    assert human(text) == text
    assert human(f"<{name} " * 100_000 + "</x>")
