"""Distil the static embedding that ships, `models/embedder/embedder.bin`, from all-MiniLM-L6-v2.

    apt-get download wordnet-base && dpkg -x wordnet-base_*.deb wordnet
    python -m tools.distil_embedder TRAIN.jsonl --wordnet wordnet/usr/share/wordnet

As model2vec does it (Minish, 2024): every token of the vocabulary goes through the encoder by itself, its vector is put
on principal axes, and frequent tokens get small weights (Arora et al., 2017: smooth inverse frequency; Zipf's law where
no text is at hand). From there the rows are fitted to the encoder's vectors of whole texts: definitions of WordNet, and
the lines of TRAIN.jsonl. No torch is needed. Encoding the texts takes an hour on two cores, once; the rest minutes.
"""

import argparse
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np

from app.embedding.file import BUILT_IN
from app.embedding.table import quantised, save
from app.embedding.wordpiece import WordPiece
from tests.minilm import Floats, vocabulary
from tools.bags import Bags, Schedule, fitted
from tools.minilm import embedded, encoded

WIDTH = 256
FIRST = 999
"""The first id that is no control token and none that BERT has left free."""
FIRST_WORD = 1996
"""From here on the vocabulary is sorted by frequency."""
BUCKETS = 512
DEFINITIONS = 40_000
SMOOTHING = 3e-4
SCHEDULE = Schedule(epochs=9, rate=0.006, floor=0.01)
APART = 0.5
_CLASS, _SEPARATOR = 101, 102
_BATCH = 1024


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description="Distil the static embedding that ships.")
    parser.add_argument("texts", type=Path, nargs="+", help="JSON lines with `text`")
    parser.add_argument("--wordnet", type=Path, required=True, help="the folder of WordNet's data.* files")
    parser.add_argument("--cache", type=Path, help="the folder of the encoder's vectors (default: the cache folder)")
    parser.add_argument("--out", type=Path, default=BUILT_IN)
    given = parser.parse_args()
    tokens = WordPiece(vocabulary())
    texts = [text for text in [*lines(given.texts), *definitions(given.wordnet, DEFINITIONS)] if tokens.encode(text)]
    rows = distilled(tokens, texts, embedded(texts, given.cache))
    given.out.parent.mkdir(parents=True, exist_ok=True)
    save(given.out, list(tokens.vocabulary), quantised(rows), FIRST)
    print(f"{len(texts)} texts, {rows.shape[0]} rows, {given.out.stat().st_size} bytes")


def lines(paths: Sequence[Path]) -> Iterator[str]:
    """The texts of files of JSON lines."""
    for path in paths:
        yield from (msgspec.json.decode(line)["text"] for line in path.read_bytes().splitlines())


def definitions(folder: Path, most: int) -> list[str]:
    """Words of WordNet with what they mean, in an order by chance. Format: wndb(5WN)."""
    found = []
    for kind in ("noun", "verb", "adj", "adv"):
        for line in (folder / f"data.{kind}").read_text(encoding="utf-8").splitlines():
            if not line.startswith(" "):
                head, gloss = line.split(" | ", 1)
                fields = head.split()
                words = fields[4 : 4 + 2 * int(fields[3], 16) : 2]
                named = ", ".join(word.split("(")[0].replace("_", " ") for word in words)
                found.append(f"{named}: {gloss.strip()}")
    random.Random(1).shuffle(found)
    return found[:most]


def distilled(tokens: WordPiece, texts: Sequence[str], teacher: Floats) -> Floats:
    """[rows, WIDTH]: of the tokens from `FIRST` on, of unknown words, and of nothing."""
    bags = Bags([tokens.encode(text) for text in texts])
    axes = principal_axes(teacher, WIDTH)
    alone = of_tokens(len(tokens.vocabulary))
    rows = (alone - alone[FIRST:].mean(0)) @ axes * weights(bags, len(tokens.vocabulary))[:, None]
    rows /= np.linalg.norm(rows, axis=1).mean()
    wanted = teacher @ axes
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    rows[bags.used] = fitted(rows[bags.used], bags, wanted, SCHEDULE)
    nothing = encoded(np.array([[_CLASS, _SEPARATOR]])) @ axes
    return np.concatenate([rows[FIRST:], unknown_rows(rows[FIRST:], rows[tokens.unknown]), nothing]).astype(np.float32)


def of_tokens(count: int) -> Floats:
    """[count, 384]: the encoder's vector of every token between `[CLS]` and `[SEP]`."""
    ids = np.array([(_CLASS, number, _SEPARATOR) for number in range(count)])
    return np.concatenate([encoded(ids[begin : begin + _BATCH]) for begin in range(0, count, _BATCH)])


def principal_axes(vectors: Floats, count: int) -> Floats:
    """[384, count]: the axes on which the vectors' cosines change least, the most important first."""
    _, axes = np.linalg.eigh(vectors.T @ vectors)
    return np.asarray(axes[:, ::-1][:, :count], np.float32)


def weights(bags: Bags, count: int) -> Floats:
    """[count]: how far each token counts, by its share of the texts' tokens and of Zipf's law, half each."""
    zipf = 1 / (np.maximum(np.arange(count) - FIRST_WORD, 0) + 2)
    seen = np.zeros(count)
    seen[bags.used] = bags.counts
    share = (zipf / zipf.sum() + seen / seen.sum()) / 2
    return np.asarray(SMOOTHING / (SMOOTHING + share), np.float32)


def unknown_rows(rows: Floats, unknown: Floats) -> Floats:
    """[BUCKETS, width]: the row of `[UNK]`, and by chance a direction that tells words apart."""
    chance = np.random.default_rng(2).standard_normal((BUCKETS, rows.shape[1])) * rows.std(0)
    length = np.linalg.norm(rows, axis=1).mean() / np.linalg.norm(chance, axis=1).mean()
    return np.asarray(unknown + APART * length * chance, np.float32)


if __name__ == "__main__":
    main()
