from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.routing.explaining import SHOWN, contributions, strongest
from app.routing.timeline import chunks, timeline
from tests.app.routing.small import ROUTES, TEXTS, model, router


@given(st.text(st.characters(), max_size=80), st.integers(1, 20))
def test_chunks_are_the_text(text: str, tokens: int) -> None:
    assert "".join(chunks(text, tokens)) == text


def test_chunks_have_the_tokens_asked_for() -> None:
    assert list(chunks("one two, three four five", 2)) == ["one two, ", "three four ", "five"]
    with pytest.raises(ValueError, match="chunk_tokens"):
        list(chunks("x", 0))


def test_the_timeline_ends_with_the_whole_text() -> None:
    steps = timeline(router(), TEXTS[5][0], 4)
    assert [step.final for step in steps] == [False] * (len(steps) - 1) + [True]
    assert steps[-1].probabilities == router().route(TEXTS[5][0]).probabilities


@pytest.mark.parametrize("text", [text for text, _ in TEXTS])
@pytest.mark.parametrize("route", ROUTES)
def test_contributions_add_up_to_the_score(text: str, route: str) -> None:
    session = router().session()
    session.feed(text)
    session.flush()
    z, bias = model().logits(session.sums), model().bias
    scores = [value - own for value, own in zip(z, bias, strict=True)]
    expected = scores[ROUTES.index(route)] - sum(scores) / len(scores)
    assert sum(contributions(model(), text, route).values()) == pytest.approx(expected, abs=1e-9)


def test_a_text_of_nothing_has_no_grounds() -> None:
    assert strongest(contributions(model(), "", "math")) == ([], [])


def test_the_strongest_come_first() -> None:
    found = {f"w{i}": float(i - 15) for i in range(31)}
    speaks_for, against = strongest(found)
    assert speaks_for[0] == ("w30", 15.0) and against[0] == ("w0", -15.0)
    assert len(speaks_for) == len(against) == SHOWN
