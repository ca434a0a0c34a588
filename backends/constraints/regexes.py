"""Regular expressions that a request brings: bounded, and in the part of the syntax that can be enforced.

The native compiler understands Rust's regex syntax, turns an expression into an automaton and finds further mistakes.
Here expressions are bounded before it sees them, and refused where they would mean something else than their author,
who writes for Python or JavaScript, expects.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from backends.base import InvalidRequestError
from backends.constraints.limits import LIMITS
from backends.constraints.places import quoted, refusal
from backends.constraints.sizes import Meter, written_number

_PIECE = re.compile(
    r"""(?P<escape>\\(?:[xuU]\{[^}]*\}|[pP]\{[^}]*\}|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.))
    |(?P<class>\[\^?\]?(?:[^\]\\]|\\.)*\])
    |(?P<flags>\(\?[is]*(?:-[is]+)?\))
    |(?P<open>\((?:\?(?:P?<[A-Za-z_]\w*>|[is]*(?:-[is]+)?:))?(?!\?))
    |(?P<other_group>\()
    |(?P<close>\))
    |(?P<count>\{(?P<least>[0-9]+)(?:,(?P<most>[0-9]*))?\})
    |(?P<brace>\{)
    |(?P<repeat>[*+?])
    |(?P<between>[|^$])
    |(?P<one>[^\\\[])""",
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_CLASS_BODY = re.compile(r"\\.|(?P<nested>\[|&&|--|~~)", re.DOTALL)
_LOOKAROUND = re.compile(r"\(\?(=|!|<=|<!)")
_UNSUPPORTED_ESCAPES = {
    **dict.fromkeys("123456789k", "refers back to what a group matched"),
    **dict.fromkeys("bBG", "looks at what is around a position"),
    **dict.fromkeys("ZQEKRXhHcN", "has no meaning here"),
}


def check_regex(pattern: str, place: str) -> int:
    """Refuse an expression that is too large or asks for what cannot be enforced.

    Returns the number of characters that it stands for when its counted repetitions are written out.

    Raises:
        InvalidRequestError: naming `place`.
    """
    if len(pattern) > LIMITS.regex_characters:
        raise refusal(place, f"has {len(pattern)} characters; at most {LIMITS.regex_characters} are allowed")
    check, at = _Check(place), 0
    while at < len(pattern):
        piece = _PIECE.match(pattern, at)
        if piece is None:
            raise refusal(place, f"is not a regular expression: {quoted(pattern[at:])} does not end")
        check.take(piece)
        at = piece.end()
    return check.finish()


class _Check:
    """Reads an expression piece by piece."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._meter = Meter()
        self._by_kind: dict[str, Callable[[re.Match[str]], None]] = {
            "escape": self._escape,
            "class": self._class,
            "open": self._open,
            "flags": lambda _: self._meter.divide(),
            "other_group": self._other_group,
            "close": self._close,
            "count": self._repeat,
            "brace": self._brace,
            "repeat": self._repeat,
            "between": lambda _: self._meter.divide(),
            "one": lambda _: self._meter.add(),
        }

    def take(self, piece: re.Match[str]) -> None:
        """The next piece."""
        self._by_kind[piece.lastgroup or ""](piece)
        if self._meter.size > LIMITS.regex_size:
            raise self._refusal(f"repeats so much that it stands for more than {LIMITS.regex_size} characters")

    def finish(self) -> int:
        """The size of the whole."""
        if self._meter.depth:
            raise self._refusal("has a group that does not end")
        return self._meter.size

    def _refusal(self, problem: str) -> InvalidRequestError:
        return refusal(self._place, problem)

    def _escape(self, piece: re.Match[str]) -> None:
        if problem := _UNSUPPORTED_ESCAPES.get(piece[0][1]):
            raise self._refusal(f"uses {quoted(piece[0])}, which {problem} and cannot be enforced")
        self._meter.add()

    def _class(self, piece: re.Match[str]) -> None:
        inside = piece[0][1:-1].removeprefix("^").removeprefix("]")
        for found in _CLASS_BODY.finditer(inside):
            if found["nested"]:
                raise self._refusal(
                    f"has {quoted(found[0])} inside the class {quoted(piece[0])}; write a backslash before it"
                )
        self._meter.add()

    def _open(self, _: re.Match[str]) -> None:
        self._meter.open()
        if self._meter.depth > LIMITS.regex_depth:
            raise self._refusal(f"nests groups deeper than {LIMITS.regex_depth}")

    def _other_group(self, piece: re.Match[str]) -> None:
        text = piece.string[piece.start() : piece.start() + 4]
        if _LOOKAROUND.match(text):
            raise self._refusal(f"looks around with {quoted(text)}, which cannot be enforced")
        raise self._refusal(f"has a group {quoted(text)} of a kind that cannot be enforced")

    def _close(self, _: re.Match[str]) -> None:
        if not self._meter.depth:
            raise self._refusal("closes a group that was not opened")
        self._meter.close()

    def _brace(self, piece: re.Match[str]) -> None:
        # Native code reads '{ 9}' as a count, others as a text.
        text = piece.string[piece.start() : piece.start() + 8]
        raise self._refusal(f"has {quoted(text)}, which is no count such as '{{2,3}}'; write '\\{{' for a brace")

    def _repeat(self, piece: re.Match[str]) -> None:
        if piece[0] == "?" and self._meter.repeated:
            return  # a lazy repetition: the same texts, in another order of preference
        if not self._meter.repeatable:
            raise self._refusal(f"repeats nothing, or a repetition, with {quoted(piece[0])}; use a group")
        counts = (written_number(piece[name], LIMITS.regex_size + 1) for name in ("least", "most"))
        self._meter.repeat(max(counts))
