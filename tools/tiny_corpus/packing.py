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
    """Arrays of shape (rows, length): token ids, the number of the conversation within its row (0 is padding), and
    whether the token is one that the assistant says."""

    ids: Ints
    owner: Ints
    said: NDArray[np.bool_]


@dataclass
class _Pile:
    """Rows of one length being filled, first fit."""

    rows: int
    length: int
    content: list[list[tuple[list[int], list[bool]]]] = field(default_factory=list)
    used: list[int] = field(default_factory=list)

    def add(self, ids: list[int], said: list[bool]) -> bool:
        for row, used in enumerate(self.used):
            if used + len(ids) <= self.length:
                self.content[row].append((ids, said))
                self.used[row] += len(ids)
                return True
        if len(self.used) < self.rows:
            self.content.append([(ids, said)])
            self.used.append(len(ids))
            return True
        return False

    def take(self) -> Batch:
        """Empty the pile into a batch."""
        shape = (self.rows, self.length)
        ids, owner, said = np.full(shape, EOT, np.int64), np.zeros(shape, np.int64), np.zeros(shape, np.bool_)
        for row, documents_of_row in enumerate(self.content):
            start = 0
            for number, (tokens, flags) in enumerate(documents_of_row, 1):
                stop = start + len(tokens)
                ids[row, start:stop], said[row, start:stop], owner[row, start:stop] = tokens, flags, number
                start = stop
        self.content, self.used = [], []
        return Batch(ids, owner, said)


def batches(tokenizer: Tokenizer, seed: int, tokens: int, short: int, long: int) -> Iterator[Batch]:
    """Batches of `tokens` tokens: rows of `short` tokens, and rows of `long` for conversations that need them."""
    rng = random.Random(seed)
    piles = {length: _Pile(max(1, tokens // length), length) for length in (short, long)}
    for example in documents(seed):
        ids, said = encode(tokenizer, example, sort_keys=rng.random() < 0.5)
        if len(ids) > long:
            continue
        pile = piles[short if len(ids) <= short else long]
        if not pile.add(ids, said):
            yield pile.take()
            pile.add(ids, said)
