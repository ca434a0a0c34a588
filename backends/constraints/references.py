"""What `$ref` refers to: places within the same document, each of which becomes a definition of its own."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from backends.constraints.places import below, quoted, refusal

_LONGEST_REFERENCE = 1_000
_PREFIX = "#/$defs/"


def definition_of(reference: str, definitions: dict[str, Any]) -> Any:
    """The definition that a reference of a rewritten schema names."""
    return definitions[reference.removeprefix(_PREFIX)]


class References:
    """Gives every schema that a document refers to a short name. `places` says where each of them stands."""

    def __init__(self, document: Any, place: str) -> None:
        self.places: dict[str, str] = {}
        self._document = document
        self._place = place
        self._names: dict[tuple[str, ...], str] = {}
        self._new: list[tuple[str, Any, str]] = []

    def resolve(self, reference: Any, place: str) -> str:
        """The reference of the rewritten schema.

        Raises:
            InvalidRequestError: it leads nowhere, or out of the document.
        """
        if not isinstance(reference, str) or len(reference) > _LONGEST_REFERENCE:
            raise refusal(place, f"must be a text of at most {_LONGEST_REFERENCE} characters")
        if not reference.startswith("#"):
            raise refusal(place, f"refers to another document, {quoted(reference)}; only '#…' is looked up")
        pointer = unquote(reference[1:])
        if pointer and not pointer.startswith("/"):
            raise refusal(place, f"refers to the anchor {quoted(reference)}; use a path such as '#/$defs/name'")
        steps = tuple(step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:])
        name = self._names.get(steps)
        if name is None:
            name = self._names[steps] = f"d{len(self._names)}"
            self._look_up(name, steps, place)
        return _PREFIX + name

    def take_new(self) -> list[tuple[str, Any, str]]:
        """Name, source and place of each definition that was found since the last call."""
        new, self._new = self._new, []
        return new

    def _look_up(self, name: str, steps: tuple[str, ...], place: str) -> None:
        target, where = self._document, self._place
        for step in steps:
            where = below(where, int(step) if isinstance(target, list) and step.isdecimal() else step)
            target = _member(target, step, place)
        self.places[name] = where
        self._new.append((name, target, where))


def _member(value: Any, step: str, place: str) -> Any:
    if isinstance(value, dict) and step in value:
        return value[step]
    if isinstance(value, list) and step.isascii() and step.isdigit() and len(step) < 6 and int(step) < len(value):
        return value[int(step)]
    raise refusal(place, f"leads nowhere: there is no {quoted(step)}")
