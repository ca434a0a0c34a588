"""The weights that ship."""

from __future__ import annotations

import pytest

from app.routing import built_in
from app.routing.router import IncrementalSemanticRouter
from app.routing.weights_file import BUILT_IN

MOST_BYTES = 2_000_000
PROMPTS = (
    ("coding", "Why does `for (int i = 0; i <= n; i++) sum += a[i];` crash? Fix the off-by-one bug in this C code."),
    ("math", "Prove that the square root of 2 is irrational, and solve x^2 + 3x + 2 = 0 for x."),
    ("finance", "What is the interest rate on my savings account, and can I transfer money to my checking account?"),
    ("medical", "A 54-year-old patient has chest pain and shortness of breath; which diagnosis is most likely?"),
    ("creative", "Write a short story about a lighthouse keeper who falls in love with the sea, in the first person."),
    ("multilingual", "Jana kauft drei Äpfel für zwei Euro. Wie viel Geld hat sie danach noch übrig?"),
)


def router() -> IncrementalSemanticRouter:
    return IncrementalSemanticRouter(built_in(), {})


@pytest.mark.parametrize(("route", "text"), PROMPTS)
def test_plain_cases_go_where_they_belong(route: str, text: str) -> None:
    assert router().route(text).best == route


@pytest.mark.parametrize("text", [text for _, text in PROMPTS])
@pytest.mark.parametrize("change", ["{}?", "{} ", "{}...", "{}!"])
def test_small_changes_change_nothing(text: str, change: str) -> None:
    found = router()
    assert found.route(change.format(text)).probabilities == found.route(text).probabilities
    assert found.route(text.upper()).best == found.route(text).best


def test_the_file_is_small() -> None:
    assert BUILT_IN.stat().st_size <= MOST_BYTES


def test_the_card_names_every_route_and_the_licences() -> None:
    card = BUILT_IN.with_name("README.md").read_text()
    for word in (*built_in().model.routes, "CC BY 3.0", "CC BY 4.0", "MIT", "Apache-2.0"):
        assert word in card


def test_the_weights_are_read_once() -> None:
    assert built_in() is built_in()
