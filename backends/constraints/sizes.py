"""How large an expression is when its counted repetitions are written out."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class _Group:
    """What stands so far inside a pair of brackets: characters in all, and those of its last element."""

    size: int = 0
    last: int = 0
    repeated: bool = False


class Meter:
    """Adds an expression up, element by element; a repetition multiplies the element before it."""

    def __init__(self) -> None:
        self._groups = [_Group()]

    @property
    def depth(self) -> int:
        """How many brackets are open."""
        return len(self._groups) - 1

    @property
    def size(self) -> int:
        """Characters in the innermost open brackets."""
        return self._groups[-1].size

    @property
    def repeatable(self) -> bool:
        """Whether an element stands before this point that is not repeated yet."""
        return self._groups[-1].last > 0 and not self._groups[-1].repeated

    @property
    def repeated(self) -> bool:
        """Whether a repetition stands right before this point."""
        return self._groups[-1].last > 0 and self._groups[-1].repeated

    def add(self, size: int = 1) -> None:
        """An element of so many characters; even an empty one counts."""
        group = self._groups[-1]
        group.last, group.repeated = max(size, 1), False
        group.size += group.last

    def open(self) -> None:
        """A bracket."""
        self._groups.append(_Group())

    def close(self) -> None:
        """Its end: what is inside becomes one element. There must be an open one."""
        self.add(self._groups.pop().size)

    def repeat(self, times: int) -> None:
        """The last element comes up to so many times; as often as one likes counts as once."""
        group = self._groups[-1]
        group.size += group.last * (max(times, 1) - 1)
        group.last *= max(times, 1)
        group.repeated = True

    def divide(self) -> None:
        """What comes next does not continue the element before."""
        self._groups[-1].last = 0


def written_number(digits: str | None, ceiling: int) -> int:
    """A written number, 0 if there is none; at most `ceiling`, however many digits it has."""
    if not digits:
        return 0
    return ceiling if len(digits) > 9 else min(int(digits), ceiling)
