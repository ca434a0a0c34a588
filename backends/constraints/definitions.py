"""The definitions of a grammar: how deep they lead into one another, and how large the automata are that they make."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from backends.constraints.limits import LIMITS
from backends.constraints.places import quoted, refusal
from backends.constraints.sizes import Meter

START = "start"
"""The rule that a grammar in Lark's notation begins with."""

_IMPORTED_SIZE = 32
"""What a name counts that the grammar does not define itself: the library's terminals are short."""


class Definition:
    """What one rule or terminal consists of, as steps that measure it once the sizes of others are known."""

    def __init__(self, name: str, line: int, *, is_rule: bool) -> None:
        self.name = name
        self.line = line
        self.is_rule = is_rule
        self.depth = 0
        self.references: list[tuple[str, int]] = []
        self._steps: list[tuple[str, int | str]] = []

    def add(self, size: int = 1) -> None:
        """A text or an expression of so many characters."""
        self._steps.append(("add", size))

    def refer(self, name: str) -> None:
        """The name of another definition, or of this one."""
        self.references.append((name, self.depth + 1))
        self._steps.append(("refer", name))

    def open(self) -> None:
        """A bracket."""
        self.depth += 1
        self._steps.append(("open", 0))

    def close(self) -> None:
        """The end of the innermost open bracket."""
        self.depth -= 1
        self._steps.append(("close", 0))

    def repeat(self, times: int) -> None:
        """The element before comes up to so many times."""
        self._steps.append(("repeat", times))

    def divide(self) -> None:
        """An alternative begins."""
        self._steps.append(("divide", 0))

    def size(self, sizes: Mapping[str, int]) -> int:
        """Characters of the whole; stops counting when there are too many."""
        meter = Meter()
        for step, value in self._steps:
            if step == "add":
                meter.add(int(value))
            elif step == "refer":
                meter.add(sizes.get(str(value), _IMPORTED_SIZE))
            elif step == "repeat":
                meter.repeat(int(value))
            elif step == "open":
                meter.open()
            elif step == "close":
                meter.close()
            if meter.size > LIMITS.regex_size:
                return meter.size
        return meter.size


def check_definitions(definitions: Sequence[Definition], place: str) -> None:
    """Refuse a grammar whose rules lead too deep, or whose terminals are too large.

    Raises:
        InvalidRequestError: naming the definition and its line.
    """
    sizes: dict[str, int] = {}
    for definition in inside_out(definitions, place):
        line = f"(line {definition.line})"
        if definition.depth:
            raise refusal(place, f"{line} has a bracket in {quoted(definition.name)} that does not end")
        if definition.is_rule:
            continue
        size = sizes[definition.name] = definition.size(sizes)
        if size > LIMITS.regex_size:
            raise refusal(
                place,
                f"{line} repeats so much that {quoted(definition.name)} stands for more than"
                f" {LIMITS.regex_size} characters",
            )


def inside_out(definitions: Sequence[Definition], place: str, start: str = START) -> Iterator[Definition]:
    """All definitions, those first that others lead to; from `start` on, the compiler recurses along the same way.

    Raises:
        InvalidRequestError: the way is too long.
    """
    by_name = {definition.name: definition for definition in definitions}
    seen: set[str] = set()
    for definition in sorted(definitions, key=lambda definition: definition.name != start):
        path = [(definition, iter(definition.references), 1)] if definition.name not in seen else []
        seen.add(definition.name)
        while path:
            current, references, depth = path[-1]
            name, brackets = next(references, ("", 0))
            if not name:
                path.pop()
                yield current
            elif name in by_name and name not in seen:
                seen.add(name)
                path.append((by_name[name], iter(by_name[name].references), depth + brackets))
                if depth + brackets > LIMITS.grammar_descent:
                    raise refusal(
                        place, f"leads through more than {LIMITS.grammar_descent} rules and brackets to {quoted(name)}"
                    )
