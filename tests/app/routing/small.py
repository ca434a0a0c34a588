"""A router that is fitted in a moment, on a few texts of three domains."""

from __future__ import annotations

from functools import cache

import numpy as np

from app.routing.decisions import Thresholds
from app.routing.features import rows_of
from app.routing.fitting import Design, Examples, Penalty, feature_weights, fit_head
from app.routing.router import IncrementalSemanticRouter
from app.routing.scoring import Collapsed, collapsed
from app.routing.weights import Weights

ROUTES = ("general", "coding", "math")
TEXTS = (
    ("what is on television tonight", 0),
    ("please remind me to call my mother", 0),
    ("how is the weather in the city", 0),
    ("tell me where my parcel is", 0),
    ("write a python function that sorts a list", 1),
    ("def add(a, b):\n    return a + b  # why a syntax error?", 1),
    ("refactor this class and fix the failing test", 1),
    ("my program throws an exception in the loop", 1),
    ("solve the equation x^2 - 4 = 0", 2),
    ("prove that the sum of two even numbers is even", 2),
    ("a train travels 60 miles in 2 hours; how fast is it", 2),
    ("integrate sin(x) from 0 to pi", 2),
)


@cache
def model() -> Collapsed:
    examples = Examples.of([rows_of(text) for text, _ in TEXTS])
    frequency = examples.document_frequency()
    weights, kept = feature_weights(frequency, len(TEXTS)), np.flatnonzero(frequency)
    labels = np.array([label for _, label in TEXTS])
    head = fit_head(Design(examples, weights, kept), labels, 3, np.ones(len(TEXTS), np.float32), Penalty(1e-4))
    scores = np.zeros((len(frequency), 3), np.float32)
    scores[kept] = head.rows * weights[kept, None]
    table, scale = collapsed(scores, weights, frequency > 0)
    return Collapsed(ROUTES, table, scale, tuple(head.bias.tolist()))


NO_THRESHOLDS = Thresholds()


def router(thresholds: Thresholds = NO_THRESHOLDS, precision: float = 0.5, **experts: str) -> IncrementalSemanticRouter:
    given = experts or {"coding": "coder", "math": "prover", "general": "talker"}
    return IncrementalSemanticRouter(Weights(model(), thresholds), given, "talker", precision)
