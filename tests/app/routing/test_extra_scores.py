"""A router that adds evidence of its own."""

from __future__ import annotations

from collections.abc import Mapping

from app.routing.router import IncrementalSemanticRouter
from app.routing.weights import Weights
from tests.app.routing.small import TEXTS, model, router


class Shouting(IncrementalSemanticRouter):
    """Whoever shouts wants to talk."""

    def extra_scores(self, text: str) -> Mapping[str, float]:
        return {"general": 50.0} if text.isupper() else {}


LOUD = Shouting(Weights(model()), {}, precision=0.5)
CODE = TEXTS[4][0]


def test_evidence_of_a_subclass_counts() -> None:
    assert LOUD.route(CODE.upper()).best == "general"
    assert LOUD.route(CODE).best == "coding"


def test_it_sees_the_whole_text_however_that_arrives() -> None:
    session = LOUD.session()
    for character in CODE.upper():
        session.feed(character)
    session.flush()
    assert session.decision.probabilities == LOUD.route(CODE.upper()).probabilities


def test_after_a_change_it_sees_the_changed_text() -> None:
    session = LOUD.session()
    session.feed(CODE.upper())
    read = session.rewind(10)
    session.feed(CODE.upper()[read:10] + " lower")
    session.flush()
    assert session.decision.best != "general"


def test_without_evidence_nothing_changes() -> None:
    plain = IncrementalSemanticRouter(Weights(model()), {}, precision=0.5)
    assert LOUD.route(CODE) == plain.route(CODE)
    assert not router().reads_text
