"""Routes of users: what is refused, and what is learned from a few examples."""

from __future__ import annotations

import pytest

from app.routers import word_vectors
from app.routing import built_in
from app.routing.joint import Joint, OwnHead, joined
from app.routing.own import OwnRoute, RoutesError, parse
from app.routing.own_fit import fit_own
from app.routing.packs import sample
from app.routing.router import IncrementalSemanticRouter

REFUNDS = (
    "I want my money back for this order",
    "how do I return a pair of shoes",
    "the parcel arrived broken, please refund me",
    "cancel my order and give me the money back",
    "can I get a refund for a late delivery",
    "you charged me twice for the same order",
    "I would like to send the jacket back",
    "refund my last purchase please",
)
CLUSTER = (
    "how do I restart a pod",
    "my deployment is stuck in pending",
    "write a helm chart for redis",
    "the ingress returns 502 from the cluster",
    "scale the replica set to five pods",
    "drain a node of the cluster before maintenance",
    "why was my pod evicted",
    "mount a secret into the deployment",
)
OWN = (OwnRoute("refunds", examples=REFUNDS), OwnRoute("cluster", examples=CLUSTER, keywords=("kubernetes",)))


def listed(*lines: str) -> str:
    return f"examples = [{', '.join(repr(line) for line in lines)}]\n"


FIVE = listed("a b", "c d", "e f", "g h", "i j")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "there is no route"),
        ("[a", "this is not TOML"),
        ("x = 3", "[x] is no table"),
        ("[a]\n" + listed("one"), "[a] has 1 example; it needs 5 to 500 examples, or a domain"),
        ("[a]\n", "[a] has 0 examples"),
        ("[a]\n" + listed(*(f"text {i}" for i in range(501))), "[a] has 501 examples"),
        ("[a]\nexample = ['x']", "[a] has an unknown field example"),
        ("[a]\nexamples = ['x', 3]", "[a] examples[1]: Expected str, got int"),
        ("[a]\nname = 'b'\n" + FIVE, "[a] has an unknown field name"),
        ("[none]\n" + FIVE, "stands for texts of no route"),
        pytest.param("x = 1" + "0" * 5000, "this is not TOML", id="a long number"),
        pytest.param("x = " + "[" * 20000, "this is not TOML", id="deep brackets"),
        ("[a]\n" + listed("a b", "A  b", "3", "4", "5"), "[a] has 'A  b' twice"),
        ("[a]\nExamples = ['x']", "has an unknown field Examples; the fields are expert"),
        ("['a b']\n" + FIVE, "[a b] is no name for a route"),
        (f"[{'a' * 65}]\n" + FIVE, "is no name for a route"),
        ("[a]\ndomain = 'law'", "[a] domain 'law' is none of general"),
        ("[a]\ndomain = 'legal'\n" + FIVE, "[a] has a domain, so it takes no examples"),
        ("[coding]\n" + FIVE, "[coding] is called like a built-in domain"),
        ("[a]\ndomain = 'legal'\n[b]\ndomain = 'legal'", "[b] and [a] are both for the domain 'legal'"),
        ("[a]\n" + FIVE + "[b]\n" + FIVE, "[b] and [a] both have 'a b': nothing could tell them apart"),
        ("[a]\n" + FIVE + "keywords = ['A  B']\n[b]\n" + listed("a b", "2", "3", "4", "5"), "both have 'a b'"),
        ("[a]\n" + listed("1", "2", "3", "4", " "), "[a] has an empty text (number 5"),
        ("[a]\n" + listed("1", "2", "3", "4", "x" * 4001), "[a] has a text of 4001 characters"),
        ("\n".join(f"[r{i}]\n" + listed(*(f"{i} {j}" for j in range(5))) for i in range(65)), "there are 65 routes"),
    ],
)
def test_what_cannot_be_a_route_is_refused(text: str, problem: str) -> None:
    with pytest.raises(RoutesError) as caught:
        parse(text)
    assert any(problem in line for line in caught.value.problems)


def test_every_problem_is_said_at_once() -> None:
    with pytest.raises(RoutesError) as caught:
        parse("[a]\n[b]\ndomain = 'law'\n[c]\nwrong = 1")
    assert len(caught.value.problems) == 3


def test_a_route_may_stand_for_a_built_in_domain() -> None:
    first, second, third = parse("[code]\ndomain='coding'\nexpert='m'\n[legal]\n[images]\ndomain='multimodal_expert'")
    assert (first.built_in, first.expert) == ("coding", "m")
    assert (second.built_in, third.built_in) == ("legal", "multimodal")
    assert parse("[a]\n" + FIVE)[0].built_in is None


@pytest.fixture(scope="module")
def head() -> OwnHead:
    return fit_own(OWN, list(sample()), built_in().model, word_vectors())


@pytest.fixture(scope="module")
def router(head: OwnHead) -> IncrementalSemanticRouter:
    return IncrementalSemanticRouter(joined(built_in(), head), {"cluster": "operator"}, "anybody", 0.5)


@pytest.mark.parametrize(
    ("text", "best"),
    [
        ("I want to return a broken lamp and get my money back", "refunds"),
        ("please refund the order", "refunds"),
        ("reimburse me for the jacket", "refunds"),
        ("what is kubernetes", "cluster"),
        ("restart the redis deployment in the cluster", "cluster"),
        ("Write a sonnet about the sea in autumn.", "creative"),
        ("Solve x^2 + 3x + 2 = 0 and prove that both roots are real.", "math"),
        ("write a python function that sorts a list of tuples", "coding"),
    ],
)
def test_own_routes_and_domains_are_told_apart(router: IncrementalSemanticRouter, text: str, best: str) -> None:
    assert router.route(text).best == best


def test_word_vectors_carry_to_words_that_no_example_has(head: OwnHead) -> None:
    plain = IncrementalSemanticRouter(joined(built_in(), fit_own(OWN, list(sample()), built_in().model)), {})
    full = IncrementalSemanticRouter(joined(built_in(), head), {})
    text = "reimbursement wanted"
    assert full.route(text).probabilities["refunds"] > plain.route(text).probabilities["refunds"]


def test_probabilities_are_those_of_all_routes(router: IncrementalSemanticRouter) -> None:
    found = router.route("anything at all")
    assert list(found.probabilities) == [*built_in().model.routes, "refunds", "cluster"]
    assert sum(found.probabilities.values()) == pytest.approx(1)
    assert "refunds" in router.names and "multimodal" in router.names


def test_an_own_route_leads_to_its_expert(router: IncrementalSemanticRouter) -> None:
    found = router.route("how do I restart the pod of a deployment in the cluster")
    assert (found.route, found.expert) == ("cluster", "operator")
    assert router.expert("cluster") == "operator"
    assert router.expert("refunds") == router.expert("coding") == router.expert("multilingual_expert") == "anybody"
    assert router.expert("nothing") is None


def test_chunks_are_exact_with_own_routes(router: IncrementalSemanticRouter) -> None:
    text = "My Pod was evicted from the node; can I get a refund?"
    session = router.session()
    for character in text:
        session.feed(character)
    session.flush()
    assert session.decision.probabilities == router.route(text).probabilities


def test_few_examples_have_no_threshold_of_their_own(head: OwnHead) -> None:
    assert head.by_route == {}
    many = OwnRoute("many", examples=tuple(f"order number {i} is late" for i in range(20)))
    found = fit_own((*OWN, many), list(sample()), built_in().model)
    assert set(found.by_route) == {"many"}


def test_examples_are_judged_by_heads_that_have_not_seen_them() -> None:
    same = "alpha beta gamma delta"
    twins = [
        OwnRoute(n, examples=tuple(f"{same} {w}" for w in words.split()))
        for n, words in (("a", "one two three four five six"), ("b", "red blue green grey pink gold"))
    ]
    assert fit_own(twins, list(sample()), built_in().model).accuracy <= 0.7


def test_own_routes_cannot_be_called_like_domains(head: OwnHead) -> None:
    with pytest.raises(ValueError, match="coding"):
        Joint(built_in().model, OwnHead(("coding", "x"), head.table, head.scale, head.bias))


def test_a_table_of_another_shape_is_refused(head: OwnHead) -> None:
    with pytest.raises(ValueError, match="int8"):
        OwnHead(("a",), head.table, head.scale, head.bias)
