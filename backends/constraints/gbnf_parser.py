"""Reads llama.cpp's notation for grammars into rules, without recursion along its nesting."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from backends.base import InvalidRequestError
from backends.constraints.limits import LIMITS
from backends.constraints.places import quoted, refusal
from backends.constraints.sizes import written_number

ENDLESS = -1
"""As often as one likes."""

_PIECE = re.compile(
    r"""(?P<space>[ \t\r]+|\#[^\n]*)
    |(?P<newline>\n)
    |(?P<rule>(?P<defined>[A-Za-z0-9_-]+)[ \t]*::=)
    |(?P<name>[A-Za-z0-9_-]+)
    |(?P<string>"(?P<text>(?:[^"\\\n]|\\.)*)")
    |(?P<class>\[(?P<negated>\^?)(?P<members>(?:[^\]\\\n]|\\.)+)\])
    |(?P<any>\.)
    |(?P<range>\{[ \t]*(?P<least>[0-9]+)[ \t]*(?P<comma>,[ \t]*(?P<most>[0-9]*)[ \t]*)?\})
    |(?P<repeat>[*+?])
    |(?P<open>\()
    |(?P<close>\))
    |(?P<bar>\|)""",
    re.VERBOSE | re.ASCII,
)
_CHARACTER = re.compile(
    r"\\(?:(?:x(?=[0-9a-fA-F]{2})|u(?=[0-9a-fA-F]{4})|U(?=[0-9a-fA-F]{8}))(?P<hex>(?<=x)..|(?<=u).{4}|(?<=U).{8})"
    r"|(?P<plain>[^0-9A-Za-z]|[nrt]))|(?P<one>[^\\])",
    re.DOTALL,
)
_CONTROL = {"n": "\n", "r": "\r", "t": "\t"}
_COUNTS = {"*": (0, ENDLESS), "+": (1, ENDLESS), "?": (0, 1)}


@dataclass(slots=True)
class Item:
    """What comes from `least` to `most` times: a terminal in Lark's notation, the name of a rule, or alternatives."""

    lark: str = ""
    size: int = 1
    name: str = ""
    alternatives: Alternatives | None = None
    least: int = 1
    most: int = 1
    wraps: bool = False
    """Whether it stands for brackets that the text does not have."""


Alternatives = list[list[Item]]
"""Sequences of items, one of which has to come."""


@dataclass(slots=True)
class Rule:
    """A name for alternatives, and the line where it is defined."""

    name: str
    line: int
    alternatives: Alternatives = field(default_factory=lambda: [[]])


def parse(text: str, place: str) -> dict[str, Rule]:
    """The rules by name.

    Raises:
        InvalidRequestError: it is too large or not GBNF; the message names the line.
    """
    if len(text) > LIMITS.grammar_bytes or len(text.encode(errors="replace")) > LIMITS.grammar_bytes:
        raise refusal(place, f"is larger than the {LIMITS.grammar_bytes} bytes that are allowed")
    return _Parser(text, place).run()


class _Parser:
    """`open` holds the alternatives of every bracket that is open, and those of the rule first."""

    def __init__(self, text: str, place: str) -> None:
        self._text = text
        self._place = place
        self._line = 1
        self._rules: dict[str, Rule] = {}
        self._open: list[Alternatives] = []
        self._by_kind: dict[str, Callable[[re.Match[str]], None]] = {
            "space": lambda _: None,
            "newline": self._newline,
            "rule": self._rule,
            "name": lambda piece: self._add(Item(name=piece[0])),
            "string": self._string,
            "class": self._class,
            "any": lambda _: self._add(Item("/(?s:.)/")),
            "range": self._range,
            "repeat": lambda piece: self._repeat(*_COUNTS[piece[0]]),
            "open": self._open_bracket,
            "close": self._close_bracket,
            "bar": lambda _: self._alternatives.append([]),
        }

    def run(self) -> dict[str, Rule]:
        at = pieces = 0
        while at < len(self._text):
            piece = _PIECE.match(self._text, at)
            if piece is None:
                rest = self._text[at:].partition("\n")[0]
                raise self._refusal(f"has {quoted(rest)}, which is not supported in a grammar")
            self._by_kind[piece.lastgroup or ""](piece)
            at = piece.end()
            pieces += 1
            if pieces > LIMITS.grammar_tokens:
                raise self._refusal(f"consists of more than {LIMITS.grammar_tokens} words and signs")
        self._check_brackets()
        return self._rules

    @property
    def _alternatives(self) -> Alternatives:
        if not self._open:
            raise self._refusal("must begin with 'name ::='")
        return self._open[-1]

    def _refusal(self, problem: str) -> InvalidRequestError:
        return refusal(self._place, f"(line {self._line}) {problem}")

    def _newline(self, _: re.Match[str]) -> None:
        self._line += 1

    def _rule(self, piece: re.Match[str]) -> None:
        self._check_brackets()
        name = piece["defined"]
        if name in self._rules:
            raise self._refusal(f"defines {quoted(name)} again")
        if len(self._rules) == LIMITS.grammar_rules:
            raise self._refusal(f"has more than {LIMITS.grammar_rules} rules")
        self._rules[name] = rule = Rule(name, self._line)
        self._open = [rule.alternatives]

    def _check_brackets(self) -> None:
        if len(self._open) > 1:
            raise self._refusal("comes after a bracket that does not end")

    def _add(self, item: Item) -> None:
        self._alternatives[-1].append(item)

    def _open_bracket(self, _: re.Match[str]) -> None:
        item = Item(alternatives=[[]])
        self._add(item)
        self._open.append(item.alternatives or [])
        if len(self._open) > LIMITS.grammar_depth:
            raise self._refusal(f"nests brackets deeper than {LIMITS.grammar_depth}")

    def _close_bracket(self, _: re.Match[str]) -> None:
        if len(self._open) < 2:
            raise self._refusal("closes a bracket that was not opened")
        self._open.pop()

    def _range(self, piece: re.Match[str]) -> None:
        least, most = (written_number(piece[name], LIMITS.length + 1) for name in ("least", "most"))
        if max(least, most) > LIMITS.length:
            raise self._refusal(f"repeats something more than {LIMITS.length} times")
        if piece["most"] and most < least:
            raise self._refusal(f"has the range {quoted(piece[0])}, which is empty")
        if not piece["most"]:
            most = ENDLESS if piece["comma"] else least
        self._repeat(least, most)

    def _repeat(self, least: int, most: int) -> None:
        sequence = self._alternatives[-1]
        if not sequence:
            raise self._refusal("repeats nothing")
        if (sequence[-1].least, sequence[-1].most) != (1, 1):
            self._wrap(sequence)
        sequence[-1].least, sequence[-1].most = least, most

    def _wrap(self, sequence: list[Item]) -> None:
        """Put what is repeated already in brackets of its own: once, since whoever reads it recurses into them."""
        if sequence[-1].wraps:
            raise self._refusal("repeats a repetition of a repetition; put one sign where there are many")
        sequence[-1] = Item(alternatives=[[sequence[-1]]], wraps=True)

    def _string(self, piece: re.Match[str]) -> None:
        text = "".join(character for character, _ in self._characters(piece["text"]))
        if len(text) > LIMITS.text_characters:
            raise self._refusal(f"has a text of more than {LIMITS.text_characters} characters")
        written = json.dumps(text, ensure_ascii=False).replace("\x7f", r"\u007f")
        self._add(Item(written, size=len(text)))

    def _class(self, piece: re.Match[str]) -> None:
        members = self._characters(piece["members"])
        ranges, at = [], 0
        while at < len(members):
            first = last = members[at][0]
            if at + 2 < len(members) and members[at + 1] == ("-", False):
                last = members[at + 2][0]
                at += 2
            if last < first:
                raise self._refusal(f"has the range {quoted(f'{first}-{last}')}, which is empty")
            ranges.append(f"\\u{{{ord(first):x}}}" + (f"-\\u{{{ord(last):x}}}" if last != first else ""))
            at += 1
        self._add(Item(f"/[{piece['negated']}{''.join(ranges)}]/"))

    def _characters(self, text: str) -> list[tuple[str, bool]]:
        """The characters that a text stands for, and which of them were written with a backslash."""
        found, at = [], 0
        while at < len(text):
            piece = _CHARACTER.match(text, at)
            if piece is None:
                raise self._refusal(f"has the unknown escape {quoted(text[at : at + 2])}")
            at = piece.end()
            code = int(piece["hex"], 16) if piece["hex"] else None
            if code is not None and (code > 0x10FFFF or 0xD800 <= code < 0xE000):
                raise self._refusal(f"has {quoted(piece[0])}, which is no character")
            plain = piece["plain"]
            character = chr(code) if code is not None else _CONTROL.get(plain, plain) if plain else piece["one"]
            found.append((character, piece["one"] is None))
        return found
