"""Regular expressions: how large they are, and what of their syntax is refused."""

from __future__ import annotations

import pytest

from backends.base import InvalidRequestError
from backends.constraints import LIMITS
from backends.constraints.regexes import check_regex
from tests.backends.constraints.asking import PLACE, refused


@pytest.mark.parametrize(
    ("pattern", "size"),
    [
        ("", 0),
        ("abc", 3),
        ("a{3}", 3),
        ("a{2,5}", 5),
        ("a{7,}", 7),
        ("a*b+c?", 3),
        ("(ab|c){4}", 12),
        ("((a{2}){3}){4}", 24),
        (r"\d\x41\u{1F600}\p{L}[a-z\]]", 5),
        (r"[]a]{2}[^]a]", 3),
        ("a*?b{2,3}?", 4),
        ("(?:a)(?P<n>b)(?<m>c)(?i:d)(?s)e", 5),
        ("^a$", 1),
        ("(){5}", 5),
        ("é{2}", 2),
    ],
)
def test_the_size_is_that_of_the_expression_written_out(pattern: str, size: int) -> None:
    assert check_regex(pattern, "p") == size


@pytest.mark.parametrize(
    ("pattern", "named"),
    [
        ("(?=a)b", "looks around"),
        ("(?!a)b", "looks around"),
        ("(?<=a)b", "looks around"),
        ("(?<!a)b", "looks around"),
        (r"(a)\1", "refers back"),
        (r"(?P<n>a)(?P=n)", "kind"),
        (r"\bword\b", "around a position"),
        ("(?>a)", "kind"),
        ("(?#c)a", "kind"),
        ("(?(1)a)", "kind"),
        ("(?x) a", "kind"),
        ("(?m)^a", "kind"),
        ("[[:alpha:]]", "inside the class"),
        ("[a&&b]", "inside the class"),
        ("[a-z--b]", "inside the class"),
        ("a++", "repetition"),
        ("a{2}{3}", "repetition"),
        ("a{ 4}", "no count"),
        ("a{,4}", "no count"),
        ("a{", "no count"),
        ("*a", "repeats nothing"),
        ("(*a)", "repeats nothing"),
        ("a|*", "repeats nothing"),
        ("(a", "does not end"),
        ("[a", "does not end"),
        ("a\\", "does not end"),
        ("a)", "not opened"),
    ],
)
def test_what_cannot_be_enforced_is_named(pattern: str, named: str) -> None:
    with pytest.raises(InvalidRequestError, match=named):
        check_regex(pattern, "p")


@pytest.mark.parametrize(
    "pattern",
    [
        "(a{1000}){1000}",
        "(((a{100}){100}){100}){100}",
        "a{999999999999999999999}",
        "a{0,99999}",
        "(" * (LIMITS.regex_depth + 1) + "a" + ")" * (LIMITS.regex_depth + 1),
        "(" * 4_000,
        "a" * (LIMITS.regex_characters + 1),
        "a{9000}" * 500,
        "[" * 4_000,
        "(?:" * 1_000,
    ],
)
def test_bombs_are_refused(pattern: str) -> None:
    assert refused("regex", pattern).param == PLACE
    assert refused("json_schema", {"pattern": pattern}).param == f"{PLACE}.pattern"


def test_an_empty_expression_is_refused_as_a_constraint() -> None:
    assert "empty" in refused("regex", "").message
