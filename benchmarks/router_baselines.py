"""What the router is compared with on sources left out. Each takes labelled texts and returns a function of texts."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from app.routing.features import rows_of
from app.routing.fitting import Examples
from app.routing.recipe import Labelled
from benchmarks.router_data import ROUTES
from benchmarks.router_teacher import Embed, even, logits, regressed

Predict = Callable[[Sequence[str]], list[int]]
Fit = Callable[[Sequence[Labelled]], Predict]

KEYWORDS = {
    "coding": "code function python java bug compile class script sql api def return",
    "technical": "computer network server linux windows router install driver circuit voltage",
    "math": "equation prove integral sum solve calculate how_many derivative theorem probability",
    "science": "energy cell atom molecule planet reaction species force gene temperature",
    "medical": "patient disease symptom treatment doctor blood pain drug diagnosis clinical",
    "legal": "law court contract defendant plaintiff legal statute liability sue jurisdiction",
    "finance": "bank account card money payment loan tax stock interest credit transfer",
    "creative": "story poem write character novel lyrics roleplay dialogue scene haiku",
}
_SCRIPT = Path(__file__).with_name("semantic_router_peer.py")


def majority(texts: Sequence[Labelled]) -> Predict:
    """Always the label that most texts have."""
    best = Counter(item.label for item in texts).most_common(1)[0][0]
    return lambda asked: [best for _ in asked]


def keywords(_: Sequence[Labelled]) -> Predict:
    """The domain with most keywords in the text; `general` where there is none."""
    lists = {ROUTES.index(name): set(words.split()) for name, words in KEYWORDS.items()}

    def predict(text: str) -> int:
        words = re.findall(r"\w+", text.lower())
        hits = {label: sum(word in wanted for word in words) for label, wanted in lists.items()}
        best = max(hits, key=lambda label: hits[label])
        if hits[best]:
            return best
        return ROUTES.index("general" if text.isascii() else "multilingual")

    return lambda asked: [predict(text) for text in asked]


def centroids(texts: Sequence[Labelled]) -> Predict:
    """The nearest of the labels' centroids, by cosine, over the router's own features weighted by their rarity."""
    examples = Examples.of([rows_of(item.text) for item in texts])
    rarity = np.log(len(texts) / np.maximum(examples.document_frequency(), 1)).astype(np.float32)
    table = np.zeros((len(rarity), len(ROUTES)), np.float32)
    values = examples.counts * rarity[examples.rows]
    owner = np.repeat(np.arange(len(examples)), examples.lengths())
    values /= np.maximum(np.sqrt(examples.sums(values * values)), 1e-6)[owner]
    np.add.at(table, (examples.rows, np.array([item.label for item in texts])[owner]), values)
    table /= np.maximum(np.linalg.norm(table, axis=0), 1e-6)

    def predict(text: str) -> int:
        rows = rows_of(text)
        return int((table[rows] * rarity[rows, None]).sum(0).argmax())

    return lambda asked: [predict(text) for text in asked]


def regression(embed: Embed, *, balanced: bool) -> Fit:
    """Logistic regression on sentence vectors; `balanced` lets every label weigh the same in all."""

    def fit(texts: Sequence[Labelled]) -> Predict:
        labels = np.array([item.label for item in texts])
        importance = even(labels) if balanced else np.ones(len(labels), np.float32)
        head = regressed(embed([item.text for item in texts]), labels, importance, len(ROUTES))
        return lambda asked: [int(best) for best in logits(head, embed(asked)).argmax(1)]

    return fit


def semantic_router(embed: Embed, python: Path) -> Fit:
    """The package of that name, run by the interpreter `python`, with sentence vectors of `embed`."""

    def fit(texts: Sequence[Labelled]) -> Predict:
        def predict(asked: Sequence[str]) -> list[int]:
            every = [*(item.text for item in texts), *asked]
            labels = np.array([item.label for item in texts])
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "peer.npz"
                np.savez(path, texts=np.array(every), vectors=embed(every), labels=labels)
                subprocess.run([python, _SCRIPT, path], check=True)
                return [int(label) for label in np.load(path.with_suffix(".npy"))]

        return predict

    return fit
