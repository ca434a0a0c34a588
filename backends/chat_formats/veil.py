"""Telling a template's text from a client's after both were rendered into one string.

A template gets placeholders that nobody can guess in place of what the client wrote. Where the rendering with
placeholders, put back together, is the plain rendering, it shows which text is whose. Templates that look into the
texts (to drop old reasoning, to find a switch) render differently then; for them only the control strings are replaced.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from backends.chat_formats.base import Segment
from backends.chat_formats.conversation import MESSAGE_TEXTS, map_strings

_Change = Callable[[str], str]


class Veil:
    """The placeholders of one request. `markers` matches the control strings of the vocabulary."""

    def __init__(self, markers: re.Pattern[str]) -> None:
        key = secrets.token_hex(12)
        self._key = key
        self._markers = markers
        self._hidden: list[str] = []
        self._placeholder = re.compile(f"x{key}n([0-9]+)x")
        self._mark = f"x{key}m"
        self.final_tag = f"x{key}t "
        """Put behind a final message that is to be continued; its blank shows whether the template trims."""

    def hide_texts(self, variables: dict[str, Any]) -> dict[str, Any]:
        """Messages' texts behind placeholders; in every other string of the client, its control strings."""
        return _changed(variables, self._hide, self._hide_markers)

    def hide_markers(self, variables: dict[str, Any]) -> dict[str, Any]:
        """Only control strings behind placeholders."""
        return _changed(variables, self._hide_markers, self._hide_markers)

    def mark_markers(self, variables: dict[str, Any]) -> dict[str, Any]:
        """Control strings stay where they are, with a mark before each, so that a template still finds them."""
        return _changed(variables, self._mark_markers, self._mark_markers)

    def align(self, veiled: str, plain: str) -> list[Segment] | None:
        """The plain rendering, split as the veiled one is; `None` where the two do not say the same."""
        first, *rest = self._placeholder.split(veiled)
        if not plain.startswith(first):
            return None
        segments, position = [Segment(first, True)], len(first)
        for index, scaffold in zip(rest[::2], rest[1::2], strict=True):
            forms = _written_forms(self._hidden[int(index)])
            text = next((form for form in forms if plain.startswith(form + scaffold, position)), None)
            if text is None:
                return None
            segments += [Segment(text, False), Segment(scaffold, True)]
            position += len(text) + len(scaffold)
        return segments if position == len(plain) else None

    def unmark(self, marked: str, *, plain: str, veiled: str) -> list[Segment] | None:
        """The plain rendering with the marked control strings as content.

        `None` if a template has torn a mark off, which shows in a text that is not the plain one, or in control strings
        that the veiled rendering, free of any text of the client, does not have.
        """
        first, *rest = marked.split(self._mark)
        segments = [Segment(first, True)]
        for piece in rest:
            marker = self._markers.match(piece)
            if marker is None:
                return None
            segments += [Segment(marker.group(), False), Segment(piece[marker.end() :], True)]
        faithful = "".join(segment.text for segment in segments) == plain
        return segments if faithful and self._scaffolding(segments) == self._scaffolding(self.reveal(veiled)) else None

    def reveal(self, veiled: str) -> list[Segment]:
        """A rendering with what is behind its placeholders put back as content."""
        first, *rest = self._placeholder.split(veiled)
        segments = [Segment(first, True)]
        for index, scaffold in zip(rest[::2], rest[1::2], strict=True):
            segments += [Segment(self._hidden[int(index)], False), Segment(scaffold, True)]
        return segments

    def _hide(self, text: str) -> str:
        """Empty texts stay empty, because templates ask whether there is one."""
        if not text:
            return text
        self._hidden.append(text)
        return f"x{self._key}n{len(self._hidden) - 1}x"

    def _hide_markers(self, text: str) -> str:
        return self._markers.sub(lambda marker: self._hide(marker.group()), text)

    def _mark_markers(self, text: str) -> str:
        return self._markers.sub(lambda marker: self._mark + marker.group(), text)

    def _scaffolding(self, segments: Iterable[Segment]) -> list[str]:
        return [marker for text, scaffold in segments if scaffold for marker in self._markers.findall(text)]


def _changed(variables: dict[str, Any], text: _Change, other: _Change) -> dict[str, Any]:
    """The variables with the texts of messages changed in one way and every other string of the client in another."""
    messages = [
        {key: text(value) if key in MESSAGE_TEXTS else map_strings(value, other) for key, value in message.items()}
        for message in variables["messages"]
    ]
    return variables | {"messages": messages, "tools": map_strings(variables["tools"], other)}


def _written_forms(text: str) -> Iterator[str]:
    """How templates write a text that they do not look into: as it is, trimmed, or inside a JSON string."""
    yield text
    yield text.strip()
    yield text.rstrip()
    yield text.lstrip()
    yield text.strip("\n")
    yield text.rstrip("\n")
    yield text.lstrip("\n")
    yield json.dumps(text, ensure_ascii=False)[1:-1]
    yield json.dumps(text)[1:-1]
