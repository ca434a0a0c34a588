from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.routing import router as module
from app.routing.decisions import Thresholds
from tests.app.routing.small import TEXTS, router

HARD = [
    "",
    "x",
    "a" * 1_000_000,
    "\x00\x01\x02\x7f\x1b[0m",
    "\ud800 lone \udfff",
    "Привет κόσμε 数据库 ภาษาไทย",
    "{[()]};",
    "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo=" * 40,
    "1 22 333 4444.5",
    "\n\n\t \r",
]
CODE = "write a python function that sorts a list, then def add(a, b):"
EAGER = Thresholds(early=0.3)


@pytest.mark.parametrize("text", HARD)
def test_any_text_gets_probabilities_that_sum_to_one(text: str) -> None:
    found = router().route(text)
    assert sum(found.probabilities.values()) == pytest.approx(1)
    assert found.final
    assert 0 <= found.out_of_domain <= 1


@pytest.mark.parametrize("text", ["", " \n", "?!"])
def test_nothing_belongs_to_nobody(text: str) -> None:
    found = router().route(text)
    assert (found.route, found.expert, found.reason, found.tokens) == (None, "talker", "abstain", 0)


@pytest.mark.parametrize(("text", "label"), TEXTS)
def test_the_examples_are_routed(text: str, label: int) -> None:
    found = router().route(text)
    assert (found.best, found.route) == (("general", "coding", "math")[label],) * 2
    assert found.expert == ("talker", "coder", "prover")[label]
    assert found.reason == "routed"


@pytest.mark.parametrize("text", [text for text, _ in TEXTS])
def test_every_split_in_two_gives_the_same_sums_and_decision(text: str) -> None:
    whole = router().session()
    whole.feed(text)
    whole.flush()
    for cut in range(len(text) + 1):
        session = router().session()
        session.feed(text[:cut])
        session.feed(text[cut:])
        session.flush()
        assert (session.sums, session.tokens) == (whole.sums, whole.tokens)
        assert session.scores() == whole.scores()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(st.characters(), max_size=12), max_size=10))
def test_any_split_gives_the_same_scores(pieces: list[str]) -> None:
    session = router().session()
    for piece in pieces:
        session.feed(piece)
    session.flush()
    whole = router().session()
    whole.feed("".join(pieces))
    whole.flush()
    assert session.scores() == whole.scores()


def test_a_text_that_has_ended_takes_no_more() -> None:
    session = router().session()
    session.flush()
    session.flush()
    with pytest.raises(ValueError, match="has ended"):
        session.feed("more")


def test_it_abstains_below_the_threshold() -> None:
    strict = Thresholds(by_route={"coding": (0.999,) * 50})
    found = router(strict).route(CODE)
    assert (found.route, found.best, found.expert, found.reason) == (None, "coding", "talker", "abstain")
    assert found.threshold == 0.999


def test_it_abstains_from_what_is_out_of_domain() -> None:
    found = router(Thresholds(out_of_domain=-1.0)).route(CODE)
    assert (found.route, found.reason) == (None, "abstain")


def test_a_missing_expert_falls_to_its_parent() -> None:
    assert router(technical="engineer").route(CODE).expert == "engineer"
    assert router(general="anybody").route(CODE).expert == "anybody"
    assert router(legal="lawyer").route(CODE).expert == "talker"


def test_work_may_begin_after_two_chunks_that_agree_and_eight_tokens() -> None:
    session = router(EAGER).session()
    seen = []
    for word in CODE.split():
        session.feed(word + " ")
        seen.append((session.tokens, session.decision.can_route))
    assert [can for _, can in seen] == [tokens >= 8 for tokens, _ in seen]
    session = router(EAGER).session()
    session.feed(CODE)
    assert not session.decision.can_route


def test_a_change_of_mind_starts_the_count_again() -> None:
    session = router(EAGER).session()
    session.feed("write a python function that sorts a list ")
    session.feed("and refactor this class ")
    assert session.decision.stability == 2
    session.feed("solve the equation x^2 - 4 = 0, prove that the sum is even, integrate sin(x) from 0 to pi " * 3)
    assert (session.decision.best, session.decision.stability) == ("math", 1)


def test_requests_have_sessions_until_they_finish() -> None:
    found = router(EAGER)
    assert not found.can_route("r")
    found.process_chunk("r", CODE[:40])
    found.process_chunk("r", CODE[40:])
    assert found.can_route("r")
    assert found.open_sessions == 1
    decision = found.finish("r")
    assert decision.expert_ids == ["coder"]
    assert decision.probabilities == found.route(CODE).probabilities
    assert found.open_sessions == 0
    with pytest.raises(KeyError):
        found.finish("r")


def test_the_request_heard_of_last_is_forgotten_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_SESSIONS", 3)
    found = router()
    for key in ("a", "b", "c", "a", "d"):
        found.process_chunk(key, "word ")
    assert found.open_sessions == 3
    with pytest.raises(KeyError):
        found.finish("b")
    assert found.finish("a").tokens == 2


def test_abandoned_requests_expire() -> None:
    found = router()
    found.process_chunk("old", "x", now_s=10.0)
    found.process_chunk("new", "x", now_s=500.0)
    assert found.expire(now_s=700.0) == 1
    assert found.finish("new")


def test_an_open_session_takes_a_kilobyte_at_most() -> None:
    found = router()
    found.process_chunk("first", "a word")
    tracemalloc.start()
    sessions = [found.session() for _ in range(1000)]
    for session in sessions:
        session.feed("some words that " * 20)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size / len(sessions) <= 1024


@pytest.mark.parametrize("precision", [0.49, 1.0, float("nan")])
def test_a_precision_that_cannot_be_promised_is_refused(precision: float) -> None:
    with pytest.raises(ValueError, match="precision"):
        router(precision=precision)
