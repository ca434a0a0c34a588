from __future__ import annotations

import numpy as np

from app.routing.recipe import Labelled
from benchmarks.router_data import ROUTES, family, packs
from benchmarks.router_terms import TERMS
from benchmarks.routing import centroids, keywords, macro, majority

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
