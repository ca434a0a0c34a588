"""Which sequence of the KV cache holds which tokens, and which of its cells it shares with others.

A radix tree per key (adapter and cache salt): a `_Run` is a stretch of tokens whose cells exist once and are seen by
all sequences that pass through it. Everything here is bookkeeping on values; the cells themselves are llama.cpp's.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

_BLOCK = 256  # tokens compared at once; slices compare in C


@dataclass(eq=False, slots=True)
class _Run:
    """`busy` counts those of its `sequences` that are in use. The root of a key has no tokens and no parent."""

    tokens: list[int]
    parent: _Run | None = None
    children: dict[int, list[_Run]] = field(default_factory=dict)
    sequences: set[int] = field(default_factory=set)
    busy: int = 0

    def path(self) -> Iterator[_Run]:
        """This run and those before it, up to the root, which is left out."""
        run = self
        while run.parent is not None:
            yield run
            run = run.parent


@dataclass(slots=True)
class _Holding:
    """One sequence: where it ends, how many tokens it has, and whether it is in use."""

    key: Hashable
    tip: _Run
    length: int = 0
    busy: bool = True


class Match(NamedTuple):
    """A cached prefix: its length in tokens, how many of them are in use anyway, and a sequence that holds it."""

    length: int = 0
    busy: int = 0
    sequence: int = -1


class PrefixTree:
    """Tokens by sequence, shared where the cells are. A sequence is in use (busy) until it comes to rest."""

    def __init__(self) -> None:
        self.cells = 0
        """Cells that hold something."""
        self.busy_cells = 0
        """Cells that a sequence in use sees."""
        self._roots: dict[Hashable, _Run] = {}
        self._held: dict[int, _Holding] = {}

    def __contains__(self, sequence: int) -> bool:
        return sequence in self._held

    def length(self, sequence: int) -> int:
        """Tokens of a sequence."""
        return self._held[sequence].length

    def key(self, sequence: int) -> Hashable:
        """The key of a sequence."""
        return self._held[sequence].key

    def tokens(self, sequence: int) -> list[int]:
        """The tokens of a sequence."""
        return [token for run in reversed(list(self._held[sequence].tip.path())) for token in run.tokens]

    def match(self, key: Hashable, tokens: list[int]) -> Match:
        """The longest prefix of `tokens` that some sequence of `key` holds."""
        best = Match()
        root = self._roots.get(key)
        open_ends = [(root, 0, 0)] if root and tokens else []
        while open_ends:
            run, depth, busy = open_ends.pop()
            for child in run.children.get(tokens[depth], ()):
                same = shared_length(child.tokens, tokens, depth)
                busy_here = busy + (same if child.busy else 0)
                if (depth + same, busy_here) > best[:2]:
                    best = Match(depth + same, busy_here, next(iter(child.sequences)))
                if same == len(child.tokens) and depth + same < len(tokens):
                    open_ends.append((child, depth + same, busy_here))
        return best

    def open(self, sequence: int, key: Hashable, source: int = -1, length: int = 0) -> None:
        """Add a sequence, in use, that sees the first `length` cells of `source` (of the same key)."""
        tip = self._cut(source, length) if length else self._roots.setdefault(key, _Run([]))
        self._held[sequence] = _Holding(key, tip, length)
        for run in tip.path():
            run.sequences.add(sequence)
            self._occupy(run)

    def extend(self, sequence: int, tokens: Sequence[int]) -> None:
        """Append tokens that a sequence in use has evaluated into cells of its own."""
        held = self._held[sequence]
        if len(held.tip.sequences) == 1:
            held.tip.tokens.extend(tokens)
        elif tokens:
            held.tip = self._add_child(held.tip, _Run(list(tokens), sequences={sequence}, busy=1))
        held.length += len(tokens)
        self.cells += len(tokens)
        self.busy_cells += len(tokens)

    def rest(self, sequence: int) -> None:
        """The sequence is not in use any more, but still cached."""
        held = self._held[sequence]
        held.busy = False
        for run in held.tip.path():
            self._vacate(run)

    def private(self, sequence: int) -> int:
        """Cells at the end of a sequence that no other one sees."""
        return sum(len(run.tokens) for run in self._held[sequence].tip.path() if len(run.sequences) == 1)

    def held_elsewhere(self, sequence: int) -> bool:
        """Whether other sequences together hold all its tokens, in the same cells or in others."""
        held, tokens = self._held[sequence], self.tokens(sequence)
        runs = self._roots[held.key].children.get(tokens[0], []) if tokens else []
        ends = [(run, 0) for run in runs]
        while ends:
            run, depth = ends.pop()
            if run.sequences == {sequence}:
                continue
            end = depth + shared_length(run.tokens, tokens, depth)
            if end == len(tokens):
                return True
            if end == depth + len(run.tokens):
                ends.extend((child, end) for child in run.children.get(tokens[end], ()))
        return not tokens

    def trim(self, sequence: int, length: int) -> None:
        """Take away all but the first `length` tokens of a sequence."""
        held = self._held[sequence]
        if length >= held.length:
            return
        kept = self._cut(sequence, length) if length else self._roots[held.key]
        path = list(held.tip.path())
        for run in path[: path.index(kept) if length else len(path)]:
            self._leave(run, sequence, busy=held.busy)
        held.tip, held.length = kept, length
        for run in path:
            self._join(run)

    def drop(self, sequence: int) -> None:
        """Take a sequence away; cells that only it saw are free."""
        self.trim(sequence, 0)
        held = self._held.pop(sequence)
        users = any(other.key == held.key for other in self._held.values())
        if not users:
            del self._roots[held.key]

    def _cut(self, sequence: int, length: int) -> _Run:
        """The run of the sequence that ends after `length` tokens (at least 1), made by splitting one if need be."""
        held = self._held[sequence]
        run, start = held.tip, held.length - len(held.tip.tokens)
        while start >= length:
            assert run.parent is not None
            run = run.parent
            start -= len(run.tokens)
        return run if start + len(run.tokens) == length else self._split(run, length - start)

    def _split(self, run: _Run, at: int) -> _Run:
        """Make the first `at` tokens of a run one of its own, which is returned; `run` keeps the others."""
        assert run.parent is not None
        upper = _Run(run.tokens[:at], sequences=set(run.sequences), busy=run.busy)
        self._remove_child(run)
        self._add_child(run.parent, upper)
        run.tokens = run.tokens[at:]
        self._add_child(upper, run)
        return upper

    def _join(self, run: _Run) -> None:
        """Make one of a run and its only continuation where no sequence ends or branches off between them any more."""
        children = [child for siblings in run.children.values() for child in siblings]
        if run.parent is None or len(children) != 1 or children[0].sequences != run.sequences:
            return
        parent, child = run.parent, children[0]
        self._remove_child(run)
        child.tokens = run.tokens + child.tokens
        self._add_child(parent, child)

    def _leave(self, run: _Run, sequence: int, *, busy: bool) -> None:
        if busy:
            self._vacate(run)
        run.sequences.remove(sequence)
        if not run.sequences:
            self.cells -= len(run.tokens)
            self._remove_child(run)

    def _occupy(self, run: _Run) -> None:
        run.busy += 1
        if run.busy == 1:
            self.busy_cells += len(run.tokens)

    def _vacate(self, run: _Run) -> None:
        run.busy -= 1
        if run.busy == 0:
            self.busy_cells -= len(run.tokens)

    def _add_child(self, parent: _Run, child: _Run) -> _Run:
        parent.children.setdefault(child.tokens[0], []).append(child)
        child.parent = parent
        return child

    def _remove_child(self, run: _Run) -> None:
        assert run.parent is not None
        siblings = run.parent.children[run.tokens[0]]
        siblings.remove(run)
        if not siblings:
            del run.parent.children[run.tokens[0]]


def shared_length(run: list[int], tokens: list[int], start: int = 0) -> int:
    """How many tokens of `run` are equal to those of `tokens` from `start` on."""
    most = min(len(run), len(tokens) - start)
    at = 0
    while at < most:
        end = min(at + _BLOCK, most)
        if run[at:end] != tokens[start + at : start + end]:
            return next(i for i in range(at, end) if run[i] != tokens[start + i])
        at = end
    return most
