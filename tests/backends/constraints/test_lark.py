"""Grammars in Lark's notation: what is refused, what is rewritten, what goes on as it is."""

from __future__ import annotations

import json

import pytest

from backends.constraints import LIMITS
from backends.constraints.json_schema import COMPILER_OPTIONS
from tests.backends.constraints.asking import PLACE, checked, refused


@pytest.mark.parametrize(
    "grammar",
    [
        'start: "a" | b "c"i\nb: /[a-z]+/is\n',
        'start: (A | [B])* C? -> name\nA: "a".."z"\nB: /b/{2,3} /c/{,4} /d/{5}\nC: A~2 B~1..3\n',
        'start[lazy]: /.*x/\n// a comment with <special> and @ref\n# and %lark {\nother[suffix="x", capture]: /.*/\n',
        "%import common.INT\n%import common (A, B)\n%ignore /[ \\t]+/\nstart: INT\n",
        '%llguidance {}\n\nstart: TEXT & LINE\nTEXT: /.*/\n  | "x"\nLINE: /a/\n',
        '!start: ?x\n_x: "a"\n',
        "",
        "start:",
    ],
)
def test_what_is_enforced_goes_on_as_it_is(grammar: str) -> None:
    assert checked("lark", grammar).value == grammar


def test_schemas_inside_are_rewritten() -> None:
    found = checked("lark", 'start: "x" call\ncall: %json {\n "type": "object", "title": "T"\n} "end"\n').value
    before, _, rest = found.partition("%json ")
    inside, end = json.JSONDecoder().raw_decode(rest)
    assert (before, rest[end:]) == ('start: "x" call\ncall: ', ' "end"\n')
    assert inside == {"type": "object", "x-guidance": COMPILER_OPTIONS}


def test_schemas_inside_are_checked() -> None:
    error = refused("lark", 'start: a\na: %json {"properties": {"b": {"not": {}}}}')
    assert error.param == f"{PLACE}['line 2'].properties.b"


@pytest.mark.parametrize(
    ("grammar", "named"),
    [
        ("start: <|im_end|>", "a token"),
        ("start: <[1-5]>", "a token"),
        ("start: @other", "another grammar"),
        ('start: %lark { start: "a" }', "%lark"),
        ('start: %regex {"substring_words": "a b"}', "%regex"),
        ('%llguidance {"no_forcing": true}\nstart: "a"', "%llguidance"),
        ("%declare A\nstart: A", "%declare"),
        ('start: a::_\na::_: "x" %if is_ones(_)', "::"),
        ("start: ~A", "~A"),
        ("start[temperature=0.5]: /a/", "temperature"),
        ("start[max_tokens=5]: /a/", "max_tokens"),
        ('start[stop="x"]: /a/', "stop"),
        ('start[capture, stop="x"]: /a/', "stop"),
        ("start: /a/x", "flags"),
        ("start: /(?=a)/", "looks around"),
        ("start: %json", "no JSON schema"),
        ("start: %json {", "no JSON schema"),
        ("start: %json nonsense", "no JSON schema"),
        ("start: %json " + "[" * 50_000, "no JSON schema"),
        ('start: "a', "not supported"),
        ("start: /a", "not supported"),
        ("start: )", "not opened"),
        ('start: (\nother: "a"', "does not end"),
        ('start: "a"{100001}', "more than"),
        ('start: "a"~3..99999999999', "more than"),
        ("\x00", "not supported"),
    ],
)
def test_what_cannot_be_enforced_is_named(grammar: str, named: str) -> None:
    error = refused("lark", grammar)
    assert named in error.message
    assert (error.param or "").startswith(PLACE)


def chain(length: int, brackets: int = 0) -> list[str]:
    left, right = "(" * brackets, ")" * brackets
    return [f'r{i}: {left}"a" r{i + 1}{right} | "b"' for i in range(length)] + [f'r{length}: "c"']


@pytest.mark.parametrize(
    "grammar",
    [
        "start: " + "(" * 40 + '"a"' + ")" * 40,
        "start: " + "[" * 40_000,
        "start: " + '"a" ' * LIMITS.grammar_tokens,
        'start: "' + "a" * LIMITS.grammar_bytes + '"',
        "\n".join(["start: r0", *chain(LIMITS.grammar_descent)]),
        "\n".join(["start: r0", *reversed(chain(LIMITS.grammar_descent))]),
        "\n".join(["start: r0", *reversed(chain(40, 10))]),
        "\n".join(f'r{i}: "a"' for i in range(LIMITS.grammar_rules + 1)),
        "start: A{100}\nA: B{100}\nB: C{100}\nC: /c/{100}",
        "\n".join(["start: T0", *(f"T{i}: T{i + 1} T{i + 1}" for i in range(20)), 'T20: "aa"']),
        "start[lazy]: A{1000}\nA: /a{1000}/",
        "start[suffix=A]: /a/\nA: /a{1000}/{1000}",
        "%ignore A{1000}\n%ignore B{1000}\nA: /a/\nB: /a{1000}/\nstart: A",
        "start: /(a{1000}){1000}/",
    ],
)
def test_bombs_are_refused(grammar: str) -> None:
    assert refused("lark", grammar).param


def test_long_grammars_within_the_limits_are_fine() -> None:
    assert checked("lark", "\n".join(["start: r0", *chain(LIMITS.grammar_descent - 5)]))
    assert checked("lark", "start: " + '"a" ' * (LIMITS.grammar_tokens // 2))
