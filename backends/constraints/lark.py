"""Grammars in Lark's notation, in the dialect of llguidance: bounded, and without what would not be enforced.

The text is cut into the pieces that the native lexer sees. JSON schemas inside are checked and rewritten, everything
else goes on unchanged.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from backends.base import InvalidRequestError
from backends.constraints.definitions import Definition, check_definitions
from backends.constraints.json_schema import compiler_schema
from backends.constraints.limits import LIMITS
from backends.constraints.places import below, quoted, refusal
from backends.constraints.regexes import check_regex
from backends.constraints.sizes import written_number

_PIECE = re.compile(
    r"""(?P<space>[ \t]+|(?:\#|//)[^\n]*)
    |(?P<newline>\r?\n)
    |(?P<string>"(?:[^"\\\n]|\\.)*"i?)
    |(?P<regex>/(?P<pattern>(?:\\.|[^/\\\n])+)/(?P<flags>[a-z]*))
    |(?P<keyword>%[A-Za-z_]+)
    |(?P<token><[^<>\s]+>|@[A-Za-z0-9_-]+)
    |(?P<range>\{[ \t]*(?P<least>[0-9]*)[ \t]*(?:,[ \t]*(?P<most>[0-9]*)[ \t]*)?\})
    |(?P<times>~[ \t]*(?P<from>[0-9]+)(?:[ \t]*\.\.[ \t]*(?P<to>[0-9]+))?)
    |(?P<name>!?[_?]?[A-Za-z][A-Za-z0-9_-]*)
    |(?P<repeat>[*+?])
    |(?P<open>[(\[])
    |(?P<close>[)\]])
    |(?P<bar>[|&])
    |(?P<other>->|:(?!:)|=|,|\.\.|\.)""",
    re.VERBOSE | re.ASCII,
)
_ATTRIBUTES = ("capture", "lazy", "suffix")
_DECODER = json.JSONDecoder()


def check_lark(text: str, place: str) -> str:
    """The grammar as the compiler gets it.

    Raises:
        InvalidRequestError: it is too large, or uses what cannot be enforced; the message names the line.
    """
    if len(text) > LIMITS.grammar_bytes or len(text.encode(errors="replace")) > LIMITS.grammar_bytes:
        raise refusal(place, f"is larger than the {LIMITS.grammar_bytes} bytes that are allowed")
    return _Reading(text, place).run()


class _Reading:
    """One pass over a grammar. `_header` is where a definition's name was just read and its colon is to come."""

    def __init__(self, text: str, place: str) -> None:
        self._text = text
        self._place = place
        self._at = self._copied = 0
        self._line = 1
        self._line_start, self._header, self._attributes = True, False, False
        self._output: list[str] = []
        self._definitions: list[Definition] = []
        self._definition = Definition("", 1, is_rule=True)
        self._by_kind: dict[str, Callable[[re.Match[str]], None]] = {
            "space": lambda _: None,
            "newline": self._newline,
            "string": lambda piece: self._definition.add(len(piece[0]) - 2),
            "regex": self._regex,
            "keyword": self._keyword,
            "token": self._token,
            "range": lambda piece: self._repeat(piece["least"], piece["most"]),
            "times": lambda piece: self._repeat(piece["from"], piece["to"]),
            "name": self._name,
            "repeat": lambda _: self._definition.repeat(1),
            "open": self._open,
            "close": self._close,
            "bar": lambda _: self._definition.divide(),
            "other": self._other,
        }

    def run(self) -> str:
        pieces = 0
        while self._at < len(self._text):
            piece = _PIECE.match(self._text, self._at)
            if piece is None:
                rest = self._text[self._at :].partition("\n")[0]
                raise self._refusal(f"has {quoted(rest)}, which is not supported in a grammar")
            self._at = piece.end()
            kind = piece.lastgroup or ""
            self._by_kind[kind](piece)
            if kind not in ("space", "newline"):
                self._line_start = False
                pieces += 1
                if pieces > LIMITS.grammar_tokens:
                    raise self._refusal(f"consists of more than {LIMITS.grammar_tokens} words and signs")
        check_definitions(self._definitions, self._place)
        return "".join((*self._output, self._text[self._copied :]))

    def _refusal(self, problem: str) -> InvalidRequestError:
        return refusal(self._place, f"(line {self._line}) {problem}")

    def _newline(self, _: re.Match[str]) -> None:
        self._line += 1
        self._line_start = True

    def _name(self, piece: re.Match[str]) -> None:
        name = piece[0].lstrip("!?")
        if self._attributes:
            self._check_attribute(name)
        elif self._line_start:
            self._begin(name, is_rule=name.lstrip("_")[0].islower())
            self._header = True
        else:
            self._definition.refer(name)

    def _begin(self, name: str, *, is_rule: bool) -> None:
        self._definition = Definition(name, self._line, is_rule=is_rule)
        self._definitions.append(self._definition)
        if len(self._definitions) > LIMITS.grammar_rules:
            raise self._refusal(f"has more than {LIMITS.grammar_rules} definitions")

    def _check_attribute(self, name: str) -> None:
        if self._text[: self._at - len(name)].rstrip()[-1:] == "=":
            self._definition.refer(name)
        elif name not in _ATTRIBUTES:
            raise self._refusal(f"has the attribute {quoted(name)}; only {', '.join(_ATTRIBUTES)} are enforced")
        elif name != "capture":
            self._definition.is_rule = False  # such a rule becomes one automaton, as a terminal does

    def _open(self, _: re.Match[str]) -> None:
        if self._header:
            self._attributes = True
            return
        self._definition.open()
        if self._definition.depth > LIMITS.grammar_depth:
            raise self._refusal(f"nests brackets deeper than {LIMITS.grammar_depth}")

    def _close(self, _: re.Match[str]) -> None:
        if self._attributes:
            self._attributes = False
        elif self._definition.depth:
            self._definition.close()
        else:
            raise self._refusal("closes a bracket that was not opened")

    def _other(self, piece: re.Match[str]) -> None:
        if piece[0] == ":" and self._header:
            self._header = self._attributes = False

    def _regex(self, piece: re.Match[str]) -> None:
        if set(piece["flags"]) - set("is"):
            raise self._refusal(f"has the flags {quoted(piece['flags'])} at a regular expression; only i and s count")
        self._definition.add(check_regex(piece["pattern"], below(self._place, f"line {self._line}")))

    def _repeat(self, least: str, most: str | None) -> None:
        times = max(written_number(digits, LIMITS.length + 1) for digits in (least, most))
        if times > LIMITS.length:
            raise self._refusal(f"repeats something more than {LIMITS.length} times")
        self._definition.repeat(times)

    def _token(self, piece: re.Match[str]) -> None:
        what = "a token" if piece[0].startswith("<") else "another grammar"
        raise self._refusal(f"names {what}, {quoted(piece[0])}; only text can be asked for")

    def _keyword(self, piece: re.Match[str]) -> None:
        keyword = piece[0]
        if keyword == "%json":
            self._json()
        elif keyword in ("%ignore", "%import"):
            self._begin(f"{keyword} {len(self._definitions)}", is_rule=keyword == "%import")
        elif keyword != "%llguidance" or not self._skip("{}"):
            raise self._refusal(f"uses {quoted(keyword)}, which is not supported")

    def _skip(self, expected: str) -> bool:
        """Go past a text that is expected after blanks; whether it is there."""
        start = re.compile(r"[ \t]*").match(self._text, self._at)
        end = start.end() if start else self._at
        if not self._text.startswith(expected, end):
            return False
        self._at = end + len(expected)
        return True

    def _json(self) -> None:
        start = self._at
        while start < len(self._text) and self._text[start] in " \t\r\n":
            start += 1
        try:
            _, end = _DECODER.raw_decode(self._text, start)
        except (ValueError, RecursionError):
            raise self._refusal("has no JSON schema after %json, or one that is not JSON") from None
        schema = compiler_schema(self._text[start:end], below(self._place, f"line {self._line}"))
        self._output += (self._text[self._copied : self._at], " ", schema)
        self._line += self._text.count("\n", self._at, end)
        self._at = self._copied = end
        self._definition.add()
