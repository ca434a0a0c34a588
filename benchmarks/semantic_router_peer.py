"""aurelio's semantic-router on vectors of ours: `PYTHON semantic_router_peer.py FILE`, by a Python that has it.

`FILE.npz` holds `texts`, `vectors`, `labels` and `asked`, the number of texts at the end that have no label. The
router's choice for each of these goes to `FILE.npy`. It is used as its documentation shows it, with its own defaults:
the mean cosine of the five nearest utterances, route by route, and no threshold, so that it always answers.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np


def main() -> None:
    """Read, fit, choose, write."""
    from semantic_router import Route
    from semantic_router.encoders import DenseEncoder
    from semantic_router.routers import IndexedRouter

    path = Path(sys.argv[1])
    with np.load(path) as found:
        texts, vectors, labels = found["texts"].tolist(), found["vectors"].astype(float), found["labels"].tolist()
        asked = texts[len(labels) :]
    table = dict(zip(texts, vectors.tolist(), strict=True))  # of equal texts, equal vectors

    class Known(DenseEncoder):  # type: ignore[misc]  # the package is not in the environment that is checked
        """Looks vectors up."""

        def __call__(self, docs: list[Any]) -> list[list[float]]:
            return [table[doc] for doc in docs]

    utterances: dict[str, list[str]] = {str(label): [] for label in labels}
    for text, label in zip(texts, labels, strict=False):
        utterances[str(label)].append(text)
    routes = [Route(name=name, utterances=list(dict.fromkeys(examples))) for name, examples in utterances.items()]
    router = IndexedRouter(encoder=Known(name="all-MiniLM-L6-v2"), routes=routes)
    np.save(path.with_suffix(".npy"), np.array([int(router(text).name) for text in asked]))


if __name__ == "__main__":
    main()
