"""When an answer counts as right."""

import json
import re

from .chat import Example

_CALL = re.compile(r"<tool_call>\s*(.*?)\s*</tool_call>", re.DOTALL)


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return None


def is_right(example: Example, answer: str) -> bool:
    """Tool calls and JSON must mean the same; everything else must be the same text, white space at the ends aside."""
    expected = example.turns[-1].content
    if answer.strip() in (expected, *example.accept):
        return True
    calls = [_parsed(call) for call in _CALL.findall(expected)]
    if calls:
        return [_parsed(call) for call in _CALL.findall(answer)] == calls and not _CALL.sub("", answer).strip()
    return example.kind == "JSON" and _parsed(answer) is not None and _parsed(answer) == _parsed(expected)
