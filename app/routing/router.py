"""The incremental router: text goes in as it arrives, a decision can be read at any time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

import kernels
from app.routing.decisions import DEFAULT, Decision, Reason, canonical, expert_for
from app.routing.features import FeatureState, encode
from app.routing.scoring import Scores
from app.routing.weights import Weights

MOST_SESSIONS = 10_000
IDLE_S = 600.0
MOST_AT_ONCE = 2**16
"""Bytes that are looked at together, so that a long text needs little memory beside it."""


class RouterSession:
    """One text on its way. `feed` takes its pieces, `flush` ends it; `decision` holds for what has been read."""

    __slots__ = ("_best", "_features", "_final", "_router", "_stability", "_state", "_sums", "heard_at_s")

    def __init__(self, router: IncrementalSemanticRouter) -> None:
        self._router = router
        self._state = FeatureState()
        self._sums = np.zeros(router.weights.model.table.shape[1], np.int64)
        self._features = 0
        self._best = self._stability = 0
        self._final = False
        self.heard_at_s = 0.0
        """When the last piece came, on the clock of whoever brings them."""

    def feed(self, text: str) -> None:
        """Read the next piece. The last word waits until it has ended.

        Raises:
            ValueError: the text has been ended.
        """
        if self._final:
            raise ValueError("the text has ended: flush was called")
        self._read(encode(text), last=False)
        best = self.scores().best
        self._stability = self._stability + 1 if best == self._best or not self._stability else 1
        self._best = best

    def flush(self) -> None:
        """The text has ended; a second call changes nothing."""
        if not self._final:
            self._read(b"", last=True)
            self._final = True

    @property
    def tokens(self) -> int:
        """Words and marks that have begun."""
        return self._state.tokens

    @property
    def sums(self) -> tuple[int, ...]:
        """The sums of the table's rows so far."""
        return tuple(self._sums.tolist())

    def scores(self) -> Scores:
        """Probabilities for what has been read."""
        return self._router.weights.model.scores(self._sums.tolist(), self._features, self.tokens)

    @property
    def decision(self) -> Decision:
        """Who would answer now; final after `flush`."""
        return self._router.decide(self.scores(), self.tokens, self._stability, final=self._final)

    def _read(self, data: bytes, *, last: bool) -> None:
        table = self._router.weights.model.table
        for begin in range(0, max(len(data), 1), MOST_AT_ONCE):
            ends = last and begin + MOST_AT_ONCE >= len(data)
            rows = self._state.take(data[begin : begin + MOST_AT_ONCE], last=ends)
            if rows.size:
                self._sums += kernels.gather_accumulate(table, rows)
                self._features += rows.size


class IncrementalSemanticRouter:
    """Chooses among experts. `experts` maps domains to the ids of experts; `default` answers where none is chosen."""

    def __init__(
        self, weights: Weights, experts: Mapping[str, str], default: str = DEFAULT, precision: float = 0.9
    ) -> None:
        if not 0.5 <= precision <= 0.99:
            raise ValueError(f"precision must be from 0.5 to 0.99, not {precision}")
        self.weights = weights
        self.precision = precision
        self._experts = {canonical(domain): expert for domain, expert in experts.items()}
        self._default = default
        self._sessions: dict[str, RouterSession] = {}

    def session(self) -> RouterSession:
        """A new text."""
        return RouterSession(self)

    def route(self, text: str) -> Decision:
        """The decision on a whole text."""
        session = self.session()
        session.feed(text)
        session.flush()
        return session.decision

    def process_chunk(self, request_id: str, text: str, now_s: float = 0.0) -> Decision:
        """The decision after one more piece of the request's text, which begins with the first call.

        The oldest requests are forgotten where more than `MOST_SESSIONS` are open. `now_s` is what `expire` goes by.
        """
        session = self._sessions.pop(request_id, None) or self.session()
        session.heard_at_s = now_s
        while len(self._sessions) >= MOST_SESSIONS:
            self._sessions.pop(next(iter(self._sessions)))
        self._sessions[request_id] = session  # the one heard of last is the last to be forgotten
        session.feed(text)
        return session.decision

    def finish(self, request_id: str) -> Decision:
        """The decision on the request's whole text, whose session ends with it.

        Raises:
            KeyError: there is no such request, or it was forgotten.
        """
        session = self._sessions.pop(request_id)
        session.flush()
        return session.decision

    def can_route(self, request_id: str) -> bool:
        """Whether work that can be undone may begin for the request."""
        session = self._sessions.get(request_id)
        return session is not None and session.decision.can_route

    def expire(self, now_s: float, idle_s: float = IDLE_S) -> int:
        """Forget the requests of which nothing was heard for so long; how many there were."""
        gone = [key for key, session in self._sessions.items() if now_s - session.heard_at_s > idle_s]
        for key in gone:
            del self._sessions[key]
        return len(gone)

    @property
    def open_sessions(self) -> int:
        """Requests that have begun and not finished."""
        return len(self._sessions)

    def decide(self, scores: Scores, tokens: int, stability: int, *, final: bool) -> Decision:
        """The decision for these probabilities."""
        routes, limits = self.weights.model.routes, self.weights.thresholds
        best = routes[scores.best]
        threshold = limits.at(best, self.precision)
        inside = tokens > 0 and scores.out_of_domain <= limits.out_of_domain
        answers = inside and scores.confidence >= threshold
        reason: Reason = "routed" if answers else "abstain"
        return Decision(
            route=best if answers else None,
            expert=expert_for(best, self._experts, self._default) if answers else self._default,
            best=best,
            confidence=scores.confidence,
            reason=reason,
            threshold=threshold,
            probabilities=_named(routes, scores.probabilities),
            out_of_domain=scores.out_of_domain,
            stability=stability,
            tokens=tokens,
            can_route=answers if final else limits.early_enough(best, scores.probabilities, tokens, stability),
            final=final,
        )


def _named(routes: Sequence[str], probabilities: Sequence[float]) -> dict[str, float]:
    return dict(zip(routes, probabilities, strict=True))
