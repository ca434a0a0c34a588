"""The tree against the obvious: a list of cells for each sequence."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from backends.llama_cpp.prefix import Match, PrefixTree, shared_length

texts = st.lists(st.integers(0, 1), max_size=8)
keys = st.sampled_from(["ana", "ben"])
SEQUENCES = 6


class Cell(NamedTuple):
    """One token in a place of its own."""

    number: int
    token: int


@dataclass
class Text:
    """All cells of one sequence."""

    key: Hashable
    cells: list[Cell]
    busy: bool = True

    @property
    def tokens(self) -> list[int]:
        return [cell.token for cell in self.cells]


class Comparison(RuleBasedStateMachine):
    """Whatever is done to the tree is done to the lists, and both know the same."""

    def __init__(self) -> None:
        super().__init__()
        self.tree = PrefixTree()
        self.texts: dict[int, Text] = {}
        self.written = 0

    def pick(self, data: st.DataObject, *, busy: bool | None = None) -> int | None:
        """One of the sequences, if there is any such."""
        found = [sequence for sequence, text in self.texts.items() if busy in (None, text.busy)]
        return data.draw(st.sampled_from(found)) if found else None

    def busy_cells(self) -> set[Cell]:
        return {cell for text in self.texts.values() if text.busy for cell in text.cells}

    @precondition(lambda self: len(self.texts) < SEQUENCES)
    @rule(key=keys)
    def open_empty(self, key: str) -> None:
        sequence = min(set(range(SEQUENCES)) - set(self.texts))
        self.tree.open(sequence, key)
        self.texts[sequence] = Text(key, [])

    @precondition(lambda self: len(self.texts) < SEQUENCES)
    @rule(data=st.data())
    def open_on_another(self, data: st.DataObject) -> None:
        source = self.pick(data)
        if source is None:
            return
        text = self.texts[source]
        length = data.draw(st.integers(0, len(text.cells)))
        sequence = min(set(range(SEQUENCES)) - set(self.texts))
        self.tree.open(sequence, text.key, source, length)
        self.texts[sequence] = Text(text.key, text.cells[:length])

    @rule(data=st.data(), tokens=texts)
    def extend(self, data: st.DataObject, tokens: list[int]) -> None:
        sequence = self.pick(data, busy=True)
        if sequence is not None:
            self.write(sequence, tokens)

    @rule(data=st.data(), tail=texts)
    def extend_like_another(self, data: st.DataObject, tail: list[int]) -> None:
        """The same tokens in other cells, as when two requests evaluate one prompt."""
        sequence = self.pick(data, busy=True)
        if sequence is not None:
            self.write(sequence, self.beginning(data)[len(self.texts[sequence].cells) :] + tail)

    def beginning(self, data: st.DataObject) -> list[int]:
        """The first tokens of one of the sequences, up to anywhere."""
        sequence = self.pick(data)
        tokens = self.texts[sequence].tokens if sequence is not None else []
        return tokens[: data.draw(st.integers(0, len(tokens)))]

    def write(self, sequence: int, tokens: list[int]) -> None:
        self.tree.extend(sequence, tokens)
        self.texts[sequence].cells += [Cell(self.written + at, token) for at, token in enumerate(tokens)]
        self.written += len(tokens)

    @rule(data=st.data())
    def rest(self, data: st.DataObject) -> None:
        sequence = self.pick(data, busy=True)
        if sequence is not None:
            self.tree.rest(sequence)
            self.texts[sequence].busy = False

    @rule(data=st.data(), length=st.integers(0, 20))
    def trim(self, data: st.DataObject, length: int) -> None:
        sequence = self.pick(data)
        if sequence is not None:
            self.tree.trim(sequence, length)
            del self.texts[sequence].cells[length:]

    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        sequence = self.pick(data)
        if sequence is not None:
            self.tree.drop(sequence)
            del self.texts[sequence]

    @rule(data=st.data(), key=keys, tail=texts)
    def match(self, data: st.DataObject, key: str, tail: list[int]) -> None:
        tokens = self.beginning(data) + tail
        busy = self.busy_cells()
        best = (0, 0)
        for text in self.texts.values():
            length = shared_length(text.tokens, tokens) if text.key == key else 0
            best = max(best, (length, len(busy.intersection(text.cells[:length]))))
        match = self.tree.match(key, tokens)
        assert (match.length, match.busy) == best
        if match.length:
            found = self.texts[match.sequence]
            assert found.key == key
            assert found.tokens[: match.length] == tokens[: match.length]
            assert len(busy.intersection(found.cells[: match.length])) == match.busy

    @invariant()
    def all_cells_are_counted(self) -> None:
        assert self.tree.cells == len({cell for text in self.texts.values() for cell in text.cells})
        assert self.tree.busy_cells == len(self.busy_cells())

    @invariant()
    def every_sequence_is_known(self) -> None:
        for sequence in range(SEQUENCES):
            assert (sequence in self.tree) == (sequence in self.texts)
        for sequence, text in self.texts.items():
            others = [other for number, other in self.texts.items() if number != sequence]
            theirs = {cell for other in others for cell in other.cells}
            assert self.tree.length(sequence) == len(text.cells)
            assert self.tree.private(sequence) == len(set(text.cells) - theirs)
            held = any(o.key == text.key and o.tokens[: len(text.cells)] == text.tokens for o in others)
            assert self.tree.held_elsewhere(sequence) == (held or not text.cells)


TestTree = Comparison.TestCase
TestTree.settings = settings(max_examples=200, stateful_step_count=30, deadline=None)


@given(st.lists(st.integers(0, 1), max_size=700), st.integers(0, 700), st.integers(0, 3))
def test_texts_are_equal_up_to_their_first_difference(text: list[int], at: int, start: int) -> None:
    other = [9] * start + text
    assert shared_length(text, other, start) == len(text)
    if at < len(text):
        other[start + at] = 2
        assert shared_length(text, other, start) == at


def test_an_empty_tree_matches_nothing() -> None:
    assert PrefixTree().match("ana", [1, 2]) == Match()


def test_of_equal_matches_the_one_in_use_costs_least() -> None:
    tree = PrefixTree()
    for sequence in (0, 1):
        tree.open(sequence, "ana")
        tree.extend(sequence, [1, 2, 3])
    tree.rest(0)
    assert tree.match("ana", [1, 2, 3, 4]) == Match(3, 3, 1)


@pytest.mark.parametrize("runs", [1, 3])
def test_what_was_split_is_one_text_again_for_a_match(runs: int) -> None:
    tree = PrefixTree()
    tree.open(0, "ana")
    tree.extend(0, [*range(10)])
    for number in range(1, runs):
        tree.open(number, "ana", 0, 3 * number)
        tree.drop(number)
    assert tree.match("ana", [*range(12)]).length == 10
