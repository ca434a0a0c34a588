"""One more score per row of the table: how far it speaks for a text that belongs to no route.

It is learned from prompts that belong to none. A text in which every word is known and some route is likely can be
foreign all the same: "how tall is the tallest player" is no assistant's business, though `general` is near.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from app.routing.features import ROWS, Ids
from app.routing.fitting import Design, Examples, Floats, Penalty, fit_head

_FEWEST_TEXTS = 2


def stranger_rows(
    texts: Sequence[tuple[Ids, float]],
    strangers: Sequence[Ids],
    weights: Floats,
    penalty: Penalty,
    vectors: Floats | None,
) -> Floats:
    """[ROWS]: scores to be multiplied by `weights[ROWS]` and summed over a text's rows; more is stranger.

    `texts` of routes are given by their rows and by how much they count; together they count as much as `strangers`.
    """
    known = [(rows, share) for rows, share in texts if share]
    examples = Examples.of([*(rows for rows, _ in known), *strangers])
    kept = np.flatnonzero(examples.document_frequency() >= min(_FEWEST_TEXTS, len(examples)))
    total = sum(share for _, share in known)
    importance = [*(share / total for _, share in known), *[1 / len(strangers)] * len(strangers)]
    labels = np.repeat([0, 1], [len(known), len(strangers)])
    head = fit_head(Design(examples, weights, kept, vectors), labels, 2, np.array(importance, np.float32), penalty)
    found = np.zeros((ROWS, 2), np.float32)
    found[kept] = head.rows
    if vectors is not None and head.dense is not None:
        found += vectors @ head.dense
    return np.asarray(found[:, 1] - found[:, 0], np.float32)
