"""The incremental router: text goes in as it arrives, a decision can be read at any time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from app.routing.decisions import DEFAULT, DOMAINS, Decision, Reason, Thresholds, canonical, expert_for
from app.routing.scoring import Model, Scores
from app.routing.session import Past, RouterSession

MOST_SESSIONS = 10_000
IDLE_S = 600.0
MOST_TURNS = 4
"""Earlier texts of a conversation that count."""
MOST_OF_EACH = 4096
"""Characters of each of them."""


class Fitted(Protocol):
    """A model with its thresholds, such as `app.routing.weights.Weights`."""

    @property
    def model(self) -> Model:
        """What gives the probabilities."""
        ...

    @property
    def thresholds(self) -> Thresholds:
        """What they must reach."""
        ...


class IncrementalSemanticRouter:
    """Chooses among experts. `experts` maps domains to the ids of experts; `default` answers where none is chosen."""

    def __init__(
        self, weights: Fitted, experts: Mapping[str, str], default: str = DEFAULT, precision: float = 0.9
    ) -> None:
        if not 0.5 <= precision <= 0.99:
            raise ValueError(f"precision must be from 0.5 to 0.99, not {precision}")
        self.weights = weights
        self.precision = precision
        self._experts = {canonical(domain): expert for domain, expert in experts.items()}
        self._default = default
        self._sessions: dict[str, RouterSession] = {}

    @property
    def model(self) -> Model:
        """What gives the probabilities."""
        return self.weights.model

    @property
    def names(self) -> tuple[str, ...]:
        """All routes, also those that do not follow from a text."""
        return (*self.model.routes, *(domain for domain in DOMAINS if domain not in self.model.routes))

    def expert(self, route: str) -> str | None:
        """Who answers what belongs to the route, by its name or an alias; `None`: there is no such route."""
        name = canonical(route)
        return expert_for(name, self._experts, self._default) if name in self.names else None

    def threshold(self, route: str) -> float:
        """The confidence from which on a route answers."""
        return self.weights.thresholds.at(route, self.precision)

    def extra_scores(self, text: str) -> Mapping[str, float]:
        """Evidence of a subclass: by route, what is added to the logarithm of its odds.

        `text` is all that has been read of one; sessions keep it where a subclass defines this.
        """
        del text
        return {}

    @property
    def reads_text(self) -> bool:
        """Whether a subclass has evidence of its own."""
        return type(self).extra_scores is not IncrementalSemanticRouter.extra_scores

    def extra(self, text: str | None) -> Mapping[str, float]:
        """The evidence of a subclass, where there is one."""
        return self.extra_scores(text) if text else {}

    def session(self, before: Sequence[str] = ()) -> RouterSession:
        """A new text; `before` are earlier ones of the same person in the conversation, oldest first."""
        return RouterSession(self, self._past(before[-MOST_TURNS:]))

    def _past(self, texts: Sequence[str]) -> Past | None:
        past = None
        for text in texts:
            session = RouterSession(self, past)
            session.feed(text[:MOST_OF_EACH])
            session.flush()
            past = session.as_past(self.model.history)
        return past

    def route(self, text: str, before: Sequence[str] = ()) -> Decision:
        """The decision on a whole text, and on what was said before it."""
        session = self.session(before)
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
        threshold = self.threshold(best)
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
