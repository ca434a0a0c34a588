"""Conversations packed into batches of equal length, each seeing only itself."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from .bpe import EOT, encode
from .dialogue import documents

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Batch:
    """Arrays of shape (rows, length): token ids, the number of the conversation within its row (0 is padding), and the
    weight of each token in the loss (above 0 where the assistant says it)."""

    ids: Ints
    owner: Ints
    weight: NDArray[np.float32]


@dataclass
class _Pile:
    """Rows of one length being filled, first fit."""

    rows: int
    length: int
    content: list[list[tuple[list[int], list[float]]]] = field(default_factory=list)
    used: list[int] = field(default_factory=list)

    def add(self, ids: list[int], weights: list[float]) -> bool:
        for row, used in enumerate(self.used):
            if used + len(ids) <= self.length:
                self.content[row].append((ids, weights))
                self.used[row] += len(ids)
                return True
        if len(self.used) < self.rows:
            self.content.append([(ids, weights)])
            self.used.append(len(ids))
            return True
        return False

    def take(self) -> Batch:
        """Empty the pile into a batch."""
        shape = (self.rows, self.length)
        ids, owner, weight = np.full(shape, EOT, np.int64), np.zeros(shape, np.int64), np.zeros(shape, np.float32)
        for row, documents_of_row in enumerate(self.content):
            start = 0
            for number, (tokens, weights) in enumerate(documents_of_row, 1):
                stop = start + len(tokens)
                ids[row, start:stop], weight[row, start:stop], owner[row, start:stop] = tokens, weights, number
                start = stop
        self.content, self.used = [], []
        return Batch(ids, owner, weight)


def batches(tokenizer: Tokenizer, seed: int, tokens: int, short: int, long: int) -> Iterator[Batch]:
    """Batches of `tokens` tokens: rows of `short` tokens, and rows of `long` for conversations that need them."""
    rng = random.Random(seed)
    piles = {length: _Pile(max(1, tokens // length), length) for length in (short, long)}
    for example in documents(seed):
        ids, weights = encode(tokenizer, example, sort_keys=rng.random() < 0.5)
        if len(ids) > long:
            continue
        pile = piles[short if len(ids) <= short else long]
        if not pile.add(ids, weights):
            yield pile.take()
            pile.add(ids, weights)
