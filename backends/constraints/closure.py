"""What follows from what, in time that grows with the number of statements and not with its square."""

from __future__ import annotations


class Closure:
    """Statements, each of which holds once as many of its grounds hold as it needs."""

    def __init__(self) -> None:
        self._missing: list[int] = []
        self._serves: list[list[int]] = []
        self._ready: list[int] = []

    def statement(self, needs: int) -> int:
        """The number of a new statement; one that needs nothing holds."""
        number = len(self._missing)
        self._missing.append(needs)
        self._serves.append([])
        if needs == 0:
            self._ready.append(number)
        return number

    def ground(self, reason: int, conclusion: int) -> None:
        """`reason` counts as one of the grounds of `conclusion`: as often as this is said."""
        self._serves[reason].append(conclusion)

    def close(self) -> None:
        """Find all that holds. Comes once, after everything has been said."""
        while self._ready:
            for conclusion in self._serves[self._ready.pop()]:
                self._missing[conclusion] -= 1
                if self._missing[conclusion] == 0:
                    self._ready.append(conclusion)

    def holds(self, number: int) -> bool:
        """Whether a statement was found to hold."""
        return self._missing[number] <= 0
