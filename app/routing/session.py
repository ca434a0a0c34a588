"""One text on its way: sums over what has been read, and what they mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

import kernels
from app.routing.decisions import Decision
from app.routing.features import FeatureState, encode
from app.routing.marks import Mark, Marks
from app.routing.scoring import History, Model, Scores

MOST_AT_ONCE = 2**16
"""Bytes that are looked at together, so that a long text needs little memory beside it."""


_NONE = Marks(0)
"""Stands for those of a short text, which has none."""


class Past(NamedTuple):
    """Sums of the table's rows over texts that count in part, and how many features and tokens that makes."""

    sums: Sequence[float]
    features: float
    tokens: float


class Judge(Protocol):
    """What a session asks of its router."""

    @property
    def model(self) -> Model:
        """What gives the probabilities."""
        ...

    def extra(self, text: str | None) -> Mapping[str, float]:
        """Evidence of the router's own, by route."""
        ...

    @property
    def reads_text(self) -> bool:
        """Whether that evidence needs the text."""
        ...

    def decide(self, scores: Scores, tokens: int, stability: int, *, final: bool) -> Decision:
        """The decision for these probabilities."""
        ...


class RouterSession:
    """One text on its way. `feed` takes its pieces, `flush` ends it; `decision` holds for what has been read.

    `rewind` goes back for a text that was changed. `past` is what was said before it.
    """

    __slots__ = (
        "_best",
        "_characters",
        "_features",
        "_final",
        "_marks",
        "_past",
        "_router",
        "_stability",
        "_state",
        "_sums",
        "_text",
        "heard_at_s",
    )

    def __init__(self, router: Judge, past: Past | None = None) -> None:
        self._router = router
        self._past = past
        self._state = FeatureState()
        self._sums = np.zeros(router.model.table.shape[1], np.int64)
        self._marks: Marks | None = None
        self._characters = self._features = 0
        self._best = self._stability = 0
        self._final = False
        self._text = "" if router.reads_text else None
        self.heard_at_s = 0.0
        """When the last piece came, on the clock of whoever brings them."""

    def feed(self, text: str) -> None:
        """Read the next piece. The last word waits until it has ended.

        Raises:
            ValueError: the text has been ended.
        """
        if self._final:
            raise ValueError("the text has ended: flush was called")
        after_space = text.rfind(" ") + 1
        if after_space and (self._marks or _NONE).due(self._characters + after_space):
            self._take(text[:after_space])
            self._marks = self._marks or Marks(len(self._sums))
            self._marks.add(self._mark())
            text = text[after_space:]
        self._take(text)
        best = self.scores().best
        self._stability = self._stability + 1 if best == self._best or not self._stability else 1
        self._best = best

    def flush(self) -> None:
        """The text has ended; a second call changes nothing."""
        if not self._final:
            self._read(b"", last=True)
            self._final = True

    def rewind(self, characters: int) -> int:
        """Go back to some point at or before the first `characters`, and return how many of them are still read.

        What the text has behind that point must be fed again. The nearer the end, the closer the point.
        """
        mark = None if self._marks is None else self._marks.back_to(characters)
        self._state = FeatureState()
        self._final, self._best, self._stability = False, 0, 0
        if mark is None:
            self._sums[:] = self._characters = self._features = 0
        else:
            self._sums[:], self._characters, self._features = mark.sums, mark.characters, mark.features
            self._state.go_on(mark.boundary, mark.tokens)
        if self._text is not None:
            self._text = self._text[: self._characters]
        return self._characters

    @property
    def tokens(self) -> int:
        """Words and marks that have begun."""
        return self._state.tokens

    @property
    def sums(self) -> tuple[int, ...]:
        """The sums of the table's rows so far."""
        return tuple(self._sums.tolist())

    @property
    def features(self) -> int:
        """How many rows that were."""
        return self._features

    @property
    def marks(self) -> int:
        """Points to go back to."""
        return len(self._marks or ())

    def scores(self) -> Scores:
        """Probabilities for what has been read."""
        found = self._router.model.scores(*self._with_past())
        extra = self._router.extra(self._text)
        return found.with_evidence([extra.get(route, 0.0) for route in self._router.model.routes]) if extra else found

    def as_past(self, history: History) -> Past:
        """What this text and those before it add to the next one."""
        sums, features, tokens = self._with_past()
        factor = history.factor(self._router.model.mass(sums))
        return Past(tuple(factor * value for value in sums), factor * features, factor * tokens)

    def _with_past(self) -> Past:
        sums = self._sums.tolist()
        if self._past is None:
            return Past(sums, self._features, self.tokens)
        before = self._past
        total = tuple(now + past for now, past in zip(sums, before.sums, strict=True))
        return Past(total, self._features + before.features, self.tokens + before.tokens)

    @property
    def decision(self) -> Decision:
        """Who would answer now; final after `flush`."""
        return self._router.decide(self.scores(), self.tokens, self._stability, final=self._final)

    def _mark(self) -> Mark:
        return Mark(self._characters, self.tokens, self._features, self._state.boundary, self._sums.tolist())

    def _take(self, text: str) -> None:
        self._read(encode(text), last=False)
        self._characters += len(text)
        if self._text is not None:
            self._text += text

    def _read(self, data: bytes, *, last: bool) -> None:
        table = self._router.model.table
        for begin in range(0, max(len(data), 1), MOST_AT_ONCE):
            ends = last and begin + MOST_AT_ONCE >= len(data)
            rows = self._state.take(data[begin : begin + MOST_AT_ONCE], last=ends)
            if rows.size:
                self._sums += kernels.gather_accumulate(table, rows)
                self._features += rows.size
