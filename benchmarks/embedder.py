"""The static embedding beside all-MiniLM-L6-v2, which it is distilled from, offline: quality and time per text.

    python -m benchmarks.embedder

Domains are those of the packs in `models/router/packs`, of which a third, chosen by hash, is judged by the rest.
Neither embedding was fitted on them. MiniLM runs in NumPy; its vectors are kept in the cache folder.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

import kernels
from app.embedding import built_in
from benchmarks.router_data import PACKS, ROUTES
from tests import minilm
from tools.minilm import MOST_TOKENS, embedded, encoded

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]
Embed = Callable[[Sequence[str]], Floats]

NEIGHBOURS = 5
SHORTEST_HALVED = 16
"""Words of a text whose halves have to find each other."""
REMEMBERED = 20_000
_TIMED = 200


class Texts(NamedTuple):
    """Texts of the packs, the number of each one's domain, and which are judged."""

    texts: list[str]
    labels: Labels
    judged: NDArray[np.bool_]


def pack_texts() -> Texts:
    """All texts of the packs; the split hangs on each text alone."""
    lines = [(line, number) for number, name in enumerate(ROUTES) for line in _lines(name)]
    texts = [msgspec.json.decode(line)["text"] for line, _ in lines]
    judged = [int(hashlib.sha256(text.encode()).hexdigest(), 16) % 3 == 0 for text in texts]
    return Texts(texts, np.array([number for _, number in lines]), np.array(judged))


def _lines(name: str) -> list[bytes]:
    return (PACKS / f"{name}.jsonl").read_bytes().splitlines()


def by_neighbours(vectors: Floats, labels: Labels, judged: NDArray[np.bool_]) -> float:
    """The share of judged texts whose domain most of their nearest others have."""
    nearest = np.argsort(-(vectors[judged] @ vectors[~judged].T), axis=1, kind="stable")[:, :NEIGHBOURS]
    votes = [np.bincount(row).argmax() for row in labels[~judged][nearest]]
    return float((np.array(votes) == labels[judged]).mean())


def by_a_line(vectors: Floats, labels: Labels, judged: NDArray[np.bool_]) -> float:
    """The same by a linear probe: least squares with a penalty of 1 on every number."""
    known = np.hstack([vectors, np.ones((len(vectors), 1), np.float32)]).astype(np.float64)
    wanted = np.eye(int(labels.max()) + 1)[labels[~judged]]
    fitted = known[~judged]
    weights = np.linalg.solve(fitted.T @ fitted + np.eye(fitted.shape[1]), fitted.T @ wanted)
    return float(((known[judged] @ weights).argmax(1) == labels[judged]).mean())


def halves(texts: Sequence[str]) -> tuple[list[str], list[str]]:
    """First and second halves of the texts that are long enough, by words."""
    split = [words for words in map(str.split, texts) if len(words) >= SHORTEST_HALVED]
    return [" ".join(w[: len(w) // 2]) for w in split], [" ".join(w[len(w) // 2 :]) for w in split]


def found_first(queries: Floats, wanted: Floats, most: int) -> float:
    """The share of queries that have their own counterpart among the `most` nearest of all."""
    similar = queries @ wanted.T
    ranks = (similar > np.diag(similar)[:, None]).sum(1)
    return float((ranks < most).mean())


def agreement(one: Floats, other: Floats) -> float:
    """Spearman's correlation of similarities of pairs of texts, over 200,000 pairs chosen by chance."""
    pairs = np.random.default_rng(0).integers(len(one), size=(200_000, 2))
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    ranks = [(x[pairs[:, 0]] * x[pairs[:, 1]]).sum(1).argsort().argsort() for x in (one, other)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def microseconds(call: Callable[[str], object], texts: Sequence[str]) -> float:
    """The median time of a call over the texts, after one round."""
    taken = []
    for text in [*texts, *texts]:
        begin = time.perf_counter_ns()
        call(text)
        taken.append(time.perf_counter_ns() - begin)
    return float(np.median(taken[len(texts) :])) / 1000


def encoded_alone(text: str) -> Floats:
    """MiniLM's vector of one text, in NumPy."""
    return encoded(np.array([minilm.token_ids(text)[:MOST_TOKENS]]))


def remembering(embed: Callable[[str], Floats], most: int = REMEMBERED) -> Callable[[str], Floats]:
    """`embed` with the vectors of the last `most` texts kept: what a cache could gain."""
    kept: OrderedDict[str, Floats] = OrderedDict()

    def found(text: str) -> Floats:
        vector = kept.get(text)
        if vector is None:
            vector = kept[text] = embed(text)
            if len(kept) > most:
                kept.popitem(last=False)
        else:
            kept.move_to_end(text)
        return vector

    return found


def rows(known: Texts, embed: Embed, teacher: Floats) -> list[str]:
    """The figures of quality of one embedding, as the cells of a table's column."""
    vectors = embed(known.texts)
    first, second = map(embed, halves(known.texts))
    return [
        f"{by_neighbours(vectors, known.labels, known.judged):.3f}",
        f"{by_a_line(vectors, known.labels, known.judged):.3f}",
        f"{found_first(first, second, 1):.3f}",
        f"{found_first(first, second, 10):.3f}",
        f"{agreement(vectors, teacher):.3f}",
    ]


NAMES = (
    f"domain of the packs by {NEIGHBOURS} neighbours, accuracy",
    "the same by a linear probe",
    "first half of a prompt finds its second half first",
    "… among the first ten",
    "similarities of pairs: rank correlation with MiniLM's",
)


def main() -> None:
    """Print the table."""
    known, static = pack_texts(), built_in()
    teacher = embedded(known.texts)
    columns = [rows(known, embed, teacher) for embed in (static.vectors, embedded)]
    timed = known.texts[:: len(known.texts) // _TIMED]
    level = kernels.active()["gather_accumulate"]["level"]
    print(f"{len(known.texts)} texts, {int(known.judged.sum())} judged; kernels: {level}\n")
    print("| | jarvis-static | all-MiniLM-L6-v2 |\n| --- | --- | --- |")
    print("\n".join(f"| {name} | {ours} | {theirs} |" for name, ours, theirs in zip(NAMES, *columns, strict=True)))
    print(f"| numbers in a vector | {static.width} | {teacher.shape[1]} |")
    ours, theirs = microseconds(static.vector, timed), microseconds(encoded_alone, timed)
    print(f"| µs per text, median of {len(timed)} texts of the packs | {ours:.0f} | {theirs:.0f} |")
    print(f"\na text that is remembered: {microseconds(remembering(static.vector), timed):.2f} µs")


if __name__ == "__main__":
    main()
