"""What a person wrote of a message: without what programs put around and beside it."""

from __future__ import annotations

import re

DROPPED = frozenset(
    {
        "command-output",
        "context",
        "document",
        "documents",
        "environment_details",
        "file",
        "file_content",
        "file_contents",
        "files",
        "function_results",
        "search_results",
        "stderr",
        "stdout",
        "system-reminder",
        "system_reminder",
        "tool_output",
        "tool_response",
        "tool_result",
        "tool_results",
    }
)
"""Tags whose contents programs have put there."""
UNWRAPPED = frozenset(
    {
        "instruction",
        "message",
        "prompt",
        "query",
        "question",
        "request",
        "task",
        "user_input",
        "user_message",
        "user_query",
    }
)
"""Tags around what the person wrote."""
_TAG = re.compile(rf"<(/?)({'|'.join(sorted(DROPPED | UNWRAPPED, key=len, reverse=True))})(?:\s[^<>]*)?>")


def human(text: str) -> str:
    """The text without wrapper tags, and without the contents of those that hold results; all of it if nothing is left.

    A tag that is not closed is text. Linear in the text's length.
    """
    if "</" not in text:
        return text
    last_close = {tag[2]: tag.start() for tag in _TAG.finditer(text) if tag[1]}
    kept, begin = [], 0
    open_at: tuple[str, int] | None = None
    for tag in _TAG.finditer(text):
        closes, name = bool(tag[1]), tag[2]
        if open_at is not None:
            if closes and name == open_at[0]:
                kept.append(text[begin : open_at[1]])
                begin, open_at = tag.end(), None
        elif name in UNWRAPPED:
            kept.append(text[begin : tag.start()])
            begin = tag.end()
        elif not closes and last_close.get(name, -1) > tag.start():
            open_at = (name, tag.start())
    found = "".join([*kept, text[begin:]])
    return found if found.strip() else text
