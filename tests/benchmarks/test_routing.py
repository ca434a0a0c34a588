from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.routing.fitting import Floats
from app.routing.recipe import Labelled, traced
from benchmarks.router_baselines import Predict, centroids, keywords, majority, regression, semantic_router
from benchmarks.router_data import (
    BEGINNING_FAMILY,
    BEGINNINGS,
    BEGUN_TOKENS,
    FAMILIES,
    ROUTES,
    STRANGER,
    beginnings,
    begun,
    early_prompts,
    family,
    packs,
    strangers,
)
from benchmarks.router_phrases import PHRASES, phrase_texts, phrases
from benchmarks.router_terms import TERMS
from benchmarks.routing import answers, guessed, macro
from tests.app.routing.small import TEXTS as SMALL
from tests.app.routing.small import model

TEXTS = [
    Labelled("sort the list in python", ROUTES.index("coding"), "a"),
    Labelled("my python code crashes", ROUTES.index("coding"), "a"),
    Labelled("the patient has a fever", ROUTES.index("medical"), "b"),
]


def test_the_baselines_do_what_they_say() -> None:
    asked = ["a fever and a patient", "python list", "quiet evening", "schöner Abend"]
    names = {fit: [ROUTES[label] for label in fit(TEXTS)(asked)] for fit in (majority, keywords, centroids)}
    assert names[majority] == ["coding"] * 4
    assert names[keywords] == ["medical", "coding", "general", "multilingual"]
    assert names[centroids][:2] == ["medical", "coding"]


def test_macro_is_the_mean_over_labels() -> None:
    assert macro(np.array([0, 0, 0, 1]), np.array([0, 0, 0, 2])) == 0.5


def test_sources_of_one_family_are_one() -> None:
    assert [family(name) for name in ("mgsm-de", "mmlu/law", "clinc150-oos", "clinc150")] == [
        "mgsm", "mmlu", "clinc150", "clinc150",
    ]  # fmt: skip


def test_every_domain_has_examples() -> None:
    labels = [item.label for item in packs()]
    assert min(labels.count(label) for label in range(len(ROUTES))) >= 60
    assert set(TERMS) <= set(ROUTES)


def test_phrases_are_those_of_domains_and_each_stands_alone_too() -> None:
    assert set(PHRASES) <= set(ROUTES)
    found = dict(phrase_texts())
    assert all(phrase in found for domain in PHRASES for phrase in phrases(domain))
    assert list(phrase_texts()) == list(phrase_texts())


def test_packs_in_other_languages_are_multilingual_except_code() -> None:
    spanish = [item for item in packs() if item.family == "packs" and "¿" in item.text]
    assert {ROUTES[item.label] for item in spanish} <= {"multilingual", "coding"}
    assert len(spanish) > 20


def test_long_prompts_have_beginnings_and_short_ones_have_none() -> None:
    long, short = "sort it " * (BEGUN_TOKENS // 2), "sort it " * (BEGUN_TOKENS // 2 - 1)
    found = beginnings([Labelled(long, 2, "a"), Labelled(short, 2, "a"), Labelled(long, 2, "terms")])
    mine, written = found[: len(BEGINNINGS)], found[len(BEGINNINGS) :]
    assert [item.text for item in mine] == ["sort it " * (count // 2) for count in BEGINNINGS]
    assert {(item.label, item.family) for item in mine} == {(2, BEGINNING_FAMILY)}
    assert len(written) == len(BEGINNINGS) * len(begun())
    assert written == beginnings([])


def test_no_text_of_the_packs_occurs_twice() -> None:
    written = [item for item in packs() if item.family == "packs"]
    texts = [item.text for item in (*written, *begun(), *strangers(), *early_prompts())]
    assert len(texts) == len(set(texts)) > 5000
    assert {item.label for item in strangers()} == {STRANGER}


def vectors_of(texts: Sequence[str]) -> Floats:
    return np.array([[text.count("a"), text.count("b")] for text in texts], np.float32)


def test_regression_on_vectors_finds_what_they_say() -> None:
    known = [Labelled(text, label, "x") for text, label in (("aaa", 1), ("aab", 1), ("bba", 2), ("bbb", 2))]
    assert regression(vectors_of, balanced=True)(known)(["aaaa", "bbbb"]) == [1, 2]


def test_even_regression_does_not_follow_the_commonest_label() -> None:
    known = [Labelled("ab", 1, "x")] * 9 + [Labelled("ab", 2, "x"), Labelled("abb", 2, "x")]
    assert regression(vectors_of, balanced=False)(known)(["ab"]) == [1]
    assert regression(vectors_of, balanced=True)(known)(["abb"]) == [2]


def test_a_baseline_never_sees_the_family_that_it_is_asked_about() -> None:
    known = [Labelled(name, ROUTES.index("math"), name) for name in (*FAMILIES, "packs", "terms")]
    asked: list[tuple[set[str], list[str]]] = []

    def fit(texts: Sequence[Labelled]) -> Predict:
        def predict(texts_asked: Sequence[str]) -> list[int]:
            asked.append(({item.family for item in texts}, list(texts_asked)))
            return [0 for _ in texts_asked]

        return predict

    assert guessed(known, fit) == [0] * len(FAMILIES)
    assert asked == [({*FAMILIES, "packs"} - {name}, [name]) for name in FAMILIES]


def test_answers_are_calibrated_on_other_texts() -> None:
    known = [traced(model(), Labelled(text, label, "a")) for text, label in SMALL] * 12
    found = answers(model(), known, known[: len(SMALL)])
    assert [right for _, right, _ in found] == [True] * len(SMALL)
    assert all(0 < p <= 1 for p, _, _ in found)
    wrong = [replace(trace, label=(trace.label + 1) % 2) for trace in known]
    assert not any(answers_it for _, _, answers_it in answers(model(), wrong, known))


STUB = """
class Route:
    def __init__(self, name, utterances):
        self.name, self.utterances = name, utterances
"""
STUB_ENCODERS = """
class DenseEncoder:
    def __init__(self, name):
        self.name = name
"""
STUB_ROUTERS = """
class IndexedRouter:
    def __init__(self, encoder, routes):
        self.encoder, self.routes = encoder, routes

    def __call__(self, text):
        [asked] = self.encoder([text])
        cosine = lambda utterance: sum(x * y for x, y in zip(self.encoder([utterance])[0], asked))
        return max(self.routes, key=lambda route: max(map(cosine, route.utterances)))
"""


def test_semantic_router_is_asked_in_its_own_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, source in (("__init__", STUB), ("encoders", STUB_ENCODERS), ("routers", STUB_ROUTERS)):
        (tmp_path / "semantic_router").mkdir(exist_ok=True)
        (tmp_path / "semantic_router" / f"{name}.py").write_text(source)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    known = [Labelled("aaa", 1, "x"), Labelled("bbb", 2, "x"), Labelled("aab", 1, "x")]
    assert semantic_router(vectors_of, Path(sys.executable))(known)(["aaaa", "bbbb", "aaa"]) == [1, 2, 1]
