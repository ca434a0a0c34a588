"""Grammars in llama.cpp's notation, as Lark's."""

from __future__ import annotations

from pathlib import Path

import pytest

from backends.constraints import LIMITS
from backends.constraints.gbnf import lark_of
from tests.backends.constraints.asking import PLACE, checked, refused
from tests.sdist import sdist


@pytest.mark.parametrize(
    ("gbnf", "lark"),
    [
        ('root ::= "a"', 'start: ROOT\nROOT: "a"\n'),
        ('root ::= "a" root | "b"', 'start: "a" start | "b"\n'),
        ("root ::= x\nx ::= [a-c]", "start: ROOT\nROOT: X\nX: /[\\u{61}-\\u{63}]/\n"),
        ('root ::= "a"* "b"+ "c"?', 'start: ROOT\nROOT: "a"* "b"+ "c"?\n'),
        (
            'root ::= "a"{2} "b"{2,} "c"{2,3} "d"{0,4} "e"{1,1}',
            'start: ROOT\nROOT: "a"{2} "b"{2,} "c"{2,3} "d"{0,4} "e"\n',
        ),
        ('root ::= "a"{0} "b"{0,} "c"{0,1}', 'start: ROOT\nROOT: "" "b"* "c"?\n'),
        ('root ::= ("a" | ("b" "c"))*?', 'start: ROOT\nROOT: (("a" | ("b" "c"))*)?\n'),
        ("root ::= | .", 'start: ROOT\nROOT: "" | /(?s:.)/\n'),
        ("root ::= [^\\]\\\\-]", "start: ROOT\nROOT: /[^\\u{5d}\\u{5c}\\u{2d}]/\n"),
        (
            "root ::= [a\\-z] [-a] [a-]",
            "start: ROOT\nROOT: /[\\u{61}\\u{2d}\\u{7a}]/ /[\\u{2d}\\u{61}]/ /[\\u{61}\\u{2d}]/\n",
        ),
        ('root ::= "\\x41\\u00e9\\U0001F600\\n\\"\\\\"', 'start: ROOT\nROOT: "Aé😀\\n\\"\\\\"\n'),
        ('root ::= "\x7f"', 'start: ROOT\nROOT: "\\u007f"\n'),
        ('root ::= fooBar foo-bar\nfooBar ::= "1"\nfoo-bar ::= "2"', None),
        ("root ::= start | a_b a-b A_B 9\nstart ::= root\na_b ::= root?\na-b ::= [x]\nA_B ::= [y]\n9 ::= [z]", None),
        ('# comment\nroot ::= # more\n  "a" |\n  "b" # end\n\n', 'start: ROOT\nROOT: "a" | "b"\n'),
        ('root ::= (\n "a"\n | "b" )\n', 'start: ROOT\nROOT: ("a" | "b")\n'),
    ],
)
def test_a_grammar_is_rewritten(gbnf: str, lark: str | None) -> None:
    found = lark_of(gbnf, "grammar")
    assert lark is None or found == lark
    names = [line.partition(":")[0] for line in found.splitlines()]
    assert names.count("start") == 1
    assert len(set(names)) == len(names)
    assert checked("lark", found).value == found


def test_a_terminal_that_would_be_too_large_stays_a_rule() -> None:
    assert lark_of('root ::= x{3}\nx ::= "a"{9000}', "grammar") == 'start: X{3}\nX: "a"{9000}\n'


@pytest.mark.parametrize(
    ("gbnf", "named"),
    [
        ("", "no rule 'root'"),
        ('a ::= "x"', "no rule 'root'"),
        ("root ::= a", "no rule 'a'"),
        ('root ::= "a"\nroot ::= "b"', "again"),
        ('"a"', "must begin"),
        ("root", "must begin"),
        ("root ::= root", "never comes to an end"),
        ('root ::= "a" x | "b" x\nx ::= "c" root', "never comes to an end"),
        ('root ::= "a" | x\nx ::= x "a"', "never comes to an end"),
        ('root ::= ("a"', "does not end"),
        ('root ::= ("a"\nb ::= "c"', "does not end"),
        ('root ::= "a")', "not opened"),
        ("root ::= *", "repeats nothing"),
        ('root ::= "a" | {2}', "repeats nothing"),
        ('root ::= "a"{3,2}', "empty"),
        ('root ::= "a"{100001}', "more than"),
        ("root ::= [z-a]", "empty"),
        ("root ::= []", "not supported"),
        ('root ::= "a', "not supported"),
        ('root ::= "\\q"', "escape"),
        ('root ::= "\\x4"', "escape"),
        ('root ::= "\\ud800"', "no character"),
        ('root ::= "\\UFFFFFFFF"', "no character"),
        ("root ::= <think>", "not supported"),
        ("root ::= !<[5]>", "not supported"),
        ('start: "a"', "must begin"),
    ],
)
def test_mistakes_are_named_with_their_line(gbnf: str, named: str) -> None:
    error = refused("gbnf", gbnf)
    assert named in error.message
    assert error.param == PLACE


@pytest.mark.parametrize(
    "gbnf",
    [
        "root ::= " + "(" * 50_000,
        "root ::= " + "(" * 30 + '"a"' + ")" * 30,
        "root ::= " + '"a"' * LIMITS.grammar_tokens,
        'root ::= "a"' + "*" * 600,
        'root ::= "a"' + "{2}" * 600,
        'root ::= ("a"?)' + "?*+" * 200,
        'root ::= "' + "a" * LIMITS.grammar_bytes + '"',
        'root ::= "' + "a" * (LIMITS.text_characters + 1) + '"',
        "\n".join(f'r{i} ::= "a"' for i in range(LIMITS.grammar_rules + 1)),
        "\n".join(["root ::= r0", *(f'r{i} ::= "a" r{i + 1}' for i in range(500)), 'r500 ::= "a"']),
    ],
)
def test_bombs_are_refused(gbnf: str) -> None:
    assert refused("gbnf", gbnf).param == PLACE


@pytest.fixture
def grammars() -> list[Path]:
    """The grammars that come with llama.cpp."""
    return sorted((sdist() / "vendor" / "llama.cpp" / "grammars").glob("*.gbnf"))


def test_the_grammars_that_come_with_llama_cpp_are_understood(grammars: list[Path]) -> None:
    assert {"json", "c", "chess"} <= {path.stem for path in grammars}
    for path in grammars:
        assert checked("gbnf", path.read_text()).value.startswith("start: "), path
