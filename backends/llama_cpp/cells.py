"""Who may use how much of the KV cache: admission, shared prefixes, and what is dropped when room is short.

Before it starts, every request is promised all cells that it can ever need, so none has to be thrown out half way.
Cells that only resting sequences see are free for whoever needs them, the least recently used first.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol

from backends.llama_cpp.prefix import Match, PrefixTree


class Memory(Protocol):
    """The cells themselves, as `backends.llama_cpp.context.Context` has them."""

    def intact(self, sequence: int, length: int) -> bool:
        """Whether the first `length` cells of a sequence are all there, as far as what follows them looks back."""
        ...

    def copy(self, source: int, target: int, length: int) -> None:
        """Let `target` see the first `length` cells of `source`."""
        ...

    def trim(self, sequence: int, length: int) -> None:
        """Take all but the first `length` cells from a sequence."""
        ...

    def forget(self, sequence: int) -> None:
        """Take all cells from a sequence."""
        ...


@dataclass(frozen=True)
class CacheShape:
    """`cells` in all, `sequences` ids of which `parallel` generate at once, and how many tokens may stay unused.

    At least one id more than `parallel` is needed to share what a resting sequence holds. Where there is none, nothing
    is kept: so for models whose sequences can neither share a part of their memory nor lose one.
    """

    cells: int
    sequences: int
    parallel: int
    keep: int

    @property
    def shares(self) -> bool:
        """Whether prefixes are kept and shared."""
        return self.sequences > self.parallel


@dataclass(frozen=True)
class Claim:
    """What a request needs of the cache: its prompt, under its key, and `new` tokens for each of `n` choices."""

    key: Hashable
    prompt: list[int]
    new: int = 0
    n: int = 1
    reuse: bool = True
    """Whether cached tokens may stand in for an evaluation: not where every token's logits are wanted."""


class KVCells:
    """Hands out sequences and cells of one context, and tells its memory what to share and to forget."""

    def __init__(self, shape: CacheShape, memory: Memory) -> None:
        self.shape = shape
        self._memory = memory
        self.clear()

    def clear(self) -> None:
        """Start with an empty cache; the memory is not told."""
        self.promised = 0
        """Cells that running requests have not used yet and may."""
        self._tree = PrefixTree()
        self._resting: dict[int, None] = {}  # in the order of their last use
        self._free = list(range(self.shape.sequences))  # a heap: the lowest first, as recurrent memories like it
        self._running = 0

    @property
    def reserved(self) -> int:
        """Cells that running requests hold or may still use."""
        return self._tree.busy_cells + self.promised

    @property
    def cached(self) -> int:
        """Cells that only prompts and answers of the past hold."""
        return self._tree.cells - self._tree.busy_cells

    def cached_prefix(self, claim: Claim) -> Match:
        """The longest cached prefix that the claim can use: at least its last token has to be evaluated."""
        if not (self.shape.shares and claim.reuse):
            return Match()
        match = self._tree.match(claim.key, claim.prompt[:-1])
        return match if match.length and self._memory.intact(match.sequence, match.length) else Match()

    def fits(self, claim: Claim) -> bool:
        """Whether `admit` would succeed now."""
        needed = len(claim.prompt) + claim.n * claim.new - self.cached_prefix(claim).busy
        return needed <= self.shape.cells - self.reserved and claim.n <= self.shape.parallel - self._running

    def admit(self, claim: Claim) -> tuple[list[int], int]:
        """Take `n` sequences; the first holds as much of the prompt as is cached: returns them and that length.

        Raises `ValueError` if the claim does not fit; ask `fits` first.
        """
        if not self.fits(claim):
            raise ValueError(f"a prompt of {len(claim.prompt)} tokens does not fit")
        match = self.cached_prefix(claim)
        self._running += claim.n
        sequences = [self._take_sequence(spare=match.sequence) for _ in range(claim.n)]
        self._tree.open(sequences[0], claim.key, match.sequence, match.length)
        if match.length:
            self._memory.copy(match.sequence, sequences[0], match.length)
            self._used(match.sequence)
        self.promised += len(claim.prompt) - match.length + claim.n * claim.new
        self._make_room(self._tree.cells + self.promised - self.shape.cells)
        return sequences, match.length

    def fork(self, key: Hashable, source: int, target: int) -> None:
        """Let `target`, taken by `admit`, see all that `source` holds."""
        length = self._tree.length(source)
        self._tree.open(target, key, source, length)
        self._memory.copy(source, target, length)

    def extend(self, sequence: int, tokens: Sequence[int]) -> None:
        """Tokens of the sequence have been evaluated into cells that were promised."""
        self._tree.extend(sequence, tokens)
        self.promised -= len(tokens)

    def release(self, sequences: Sequence[int], unused: int) -> None:
        """The request has ended: what it holds stays cached, `unused` of its promised cells are free."""
        self.promised -= unused
        self._running -= len(sequences)
        for sequence in sequences:
            if sequence not in self._tree:
                heapq.heappush(self._free, sequence)
                continue
            self._tree.rest(sequence)
            self._resting[sequence] = None
            if not self.shape.shares or self._tree.held_elsewhere(sequence):
                self._drop(sequence)
        self._make_room(self.cached - self.shape.keep)

    def _take_sequence(self, spare: int) -> int:
        if not self._free:
            self._drop(next(sequence for sequence in self._resting if sequence != spare))
        return heapq.heappop(self._free)

    def _used(self, source: int) -> None:
        """A resting sequence has served again: it is the last to go, or goes at once if nothing is its own."""
        if source not in self._resting:
            return
        del self._resting[source]
        self._resting[source] = None
        if self._tree.private(source) == 0:
            self._drop(source)

    def _make_room(self, cells: int) -> None:
        """Free at least so many cells, from the least recently used, which loses its end first."""
        while cells > 0 and self._resting:
            oldest = next(iter(self._resting))
            private, length = self._tree.private(oldest), self._tree.length(oldest)
            if private > cells and length > cells:
                self._tree.trim(oldest, length - cells)
                self._memory.trim(oldest, length - cells)
                return
            cells -= private
            self._drop(oldest)

    def _drop(self, sequence: int) -> None:
        self._tree.drop(sequence)
        self._memory.forget(sequence)
        self._resting.pop(sequence, None)
        heapq.heappush(self._free, sequence)
