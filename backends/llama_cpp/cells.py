"""Who may use how much of the KV cache: admission, shared prefixes, and what is dropped when room is short.

Before it starts, every request is promised all cells that it can ever need, so none has to be thrown out half way.
Cells that only resting sequences see are free for whoever needs them, the least recently used first; what they hold
moves out to a store, and comes back when a prompt begins with it.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from backends.llama_cpp.prefix import Match, PrefixTree
from backends.llama_cpp.store import PrefixStore, Stored


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

    def save(self, sequence: int) -> NDArray[np.uint8]:
        """A copy of what a sequence's cells hold."""
        ...

    def restore(self, sequence: int, saved: NDArray[np.uint8]) -> bool:
        """Fill cells of an empty sequence with what was saved; false, and no cell taken, where that is impossible."""
        ...


_COPIED_FOR_ONE = 32
"""Tokens that are copied in much less time than one is evaluated."""

_BUSY_FOR_ONE_IDLE = 8
"""Cells in use beside which an idle one makes hardly a difference."""


@dataclass(frozen=True)
class CacheShape:
    """`cells` in all, `sequences` ids of which `parallel` generate at once, and how many unused tokens to `keep`.

    At least one id more than `parallel` is needed to share what a resting sequence holds. Where there is none, nothing
    is kept: so for models whose sequences can neither share a part of their memory nor lose one.
    """

    cells: int
    sequences: int
    parallel: int
    keep: int
    idle: int = 0
    """Cells that may stay unused while others compute. On a CPU attention passes over each of them in every step, and
    threads that share the cells of one sequence share them less evenly."""
    worth_copying: int = 8
    """Tokens that a copy of a sequence must save, into the store or back: fewer are soon evaluated again."""

    @property
    def shares(self) -> bool:
        """Whether prefixes are kept and shared."""
        return self.sequences > self.parallel

    def pays(self, saved: int, copied: int) -> bool:
        """Whether it is worth it to copy a sequence of `copied` tokens that saves the evaluation of some of them.

        What it shares with others is copied with it.
        """
        return saved >= max(self.worth_copying, copied // _COPIED_FOR_ONE)


@dataclass(frozen=True)
class Claim:
    """What a request needs of the cache: its prompt, under its key, and `new` tokens for each of `n` choices."""

    key: Hashable
    prompt: list[int] = field(repr=False)
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
        self._store = PrefixStore()
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

    @property
    def stored(self) -> int:
        """Tokens of the past that have left the cells and can come back."""
        return self._store.tokens

    def cached_length(self, claim: Claim) -> int:
        """Tokens of the prompt that need no evaluation, from cells or from the store."""
        match = self._cached_prefix(claim)
        return max(match.length, self._stored_prefix(claim, match)[0])

    def _cached_prefix(self, claim: Claim) -> Match:
        """The longest cached prefix that the claim can use: at least its last token has to be evaluated."""
        if not (self.shape.shares and claim.reuse):
            return Match()
        match = self._tree.match(claim.key, claim.prompt[:-1])
        return match if match.length and self._memory.intact(match.sequence, match.length) else Match()

    def _stored_prefix(self, claim: Claim, match: Match) -> tuple[int, Stored | None]:
        """The same among what is stored, as far as there is room for it and it is worth more than `match`."""
        room = self.shape.cells - self.reserved
        if not (self.shape.shares and claim.reuse) or len(claim.prompt) + claim.n * claim.new > room:
            return 0, None

        def is_usable(length: int, copied: int) -> bool:
            # What is restored has cells of its own, also for what it could have shared with those that run.
            return copied <= room and self.shape.pays(length - match.length, copied + match.busy)

        return self._store.match(claim.key, claim.prompt[:-1], is_usable)

    def fits(self, claim: Claim) -> bool:
        """Whether `admit` would succeed now."""
        if claim.n > self.shape.parallel - self._running:
            return False
        needed = len(claim.prompt) + claim.n * claim.new - self._cached_prefix(claim).busy
        return needed <= self.shape.cells - self.reserved

    def admit(self, claim: Claim) -> tuple[list[int], int]:
        """Take `n` sequences; the first holds as much of the prompt as is cached: returns them and that length.

        Raises `ValueError` if the claim does not fit; ask `fits` first.
        """
        if not self.fits(claim):
            raise ValueError(f"a prompt of {len(claim.prompt)} tokens does not fit")
        match = self._cached_prefix(claim)
        length, stored = self._stored_prefix(claim, match)
        self._running += claim.n
        sequences = [self._take_sequence(spare=match.sequence) for _ in range(claim.n)]
        if stored and self._restore(sequences[0], stored, length):
            cached = length
        else:
            match = self._cached_prefix(claim)  # anew: the attempt may have made room at its cost
            cached = match.length
            self._share(sequences[0], claim.key, match)
        self.promised += len(claim.prompt) - cached + claim.n * claim.new
        self._make_room(self._tree.cells + self.promised - self.shape.cells)
        self._bound()
        return sequences, cached

    def settle(self) -> None:
        """Before others compute: what nobody uses leaves the cells, but for a few.

        Only now, and not as soon as they are unused: those that are admitted together begin with what is still here.
        """
        self._make_room(self.cached - max(self.shape.idle, self._tree.busy_cells // _BUSY_FOR_ONE_IDLE))

    def _share(self, sequence: int, key: Hashable, match: Match) -> None:
        """Begin a sequence with a prefix of another."""
        self._tree.open(sequence, key, match.sequence, match.length)
        if match.length:
            self._memory.copy(match.sequence, sequence, match.length)
            self._used(match.sequence)

    def _restore(self, sequence: int, stored: Stored, length: int) -> bool:
        """Begin a sequence with a prefix that is stored; false, and nothing done, where that fails."""
        self._make_room(self._tree.cells + self.promised + len(stored.tokens) - self.shape.cells)
        if not (self._memory.restore(sequence, stored.cells) and self._memory.intact(sequence, length)):
            self._memory.forget(sequence)
            self._store.discard(stored)
            return False
        if length < len(stored.tokens):
            self._memory.trim(sequence, length)
        self._tree.open(sequence, stored.key)
        self._tree.extend(sequence, stored.tokens[:length])
        self._store.use(stored)
        return True

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
        self._bound()

    def _take_sequence(self, spare: int) -> int:
        if not self._free:
            self._evict(next(sequence for sequence in self._resting if sequence != spare))
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
        """Free at least so many cells, from the least recently used."""
        while cells > 0 and self._resting:
            oldest = next(iter(self._resting))
            cells -= self._tree.private(oldest)
            self._evict(oldest)

    def _evict(self, sequence: int) -> None:
        """Take a resting sequence out of the cells, into the store if that is worth it.

        It is not, where what stays in the cells leaves no room for it in all that may be kept.
        """
        key, tokens, private = self._tree.key(sequence), self._tree.tokens(sequence), self._tree.private(sequence)
        known, stored = self._store.match(key, tokens)
        room = self.shape.keep - (self.cached - private)
        if len(tokens) <= room and self.shape.pays(min(private, len(tokens) - known), len(tokens)):
            self._store.shrink(room - len(tokens))
            self._store.add(Stored(key, tokens, self._memory.save(sequence)))
        elif stored:
            self._store.use(stored)
        self._drop(sequence)

    def _bound(self) -> None:
        """Keep no more than was allowed: the store goes first, then ends of resting sequences, oldest first."""
        self._store.shrink(self.shape.keep - self.cached)
        while (excess := self.cached - self.shape.keep) > 0:
            oldest = next(iter(self._resting))
            private, length = self._tree.private(oldest), self._tree.length(oldest)
            if private > excess and length > excess:
                self._tree.trim(oldest, length - excess)
                self._memory.trim(oldest, length - excess)
            else:
                self._drop(oldest)

    def _drop(self, sequence: int) -> None:
        self._tree.drop(sequence)
        self._memory.forget(sequence)
        self._resting.pop(sequence, None)
        heapq.heappush(self._free, sequence)
