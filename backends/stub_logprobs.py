"""The stub engine's log-probabilities: made up, always the same, and those of a distribution.

Places in the order of probability halve: the first has 1/2, the second 1/4. A token takes the place that its length
gives it, fixed words take the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from math import log

from backends.stub_script import WORDS, token_id
from backends.types import TokenLogprob

_ALTERNATIVES = (*(f" {word}" for word in WORDS), *WORDS)


def token_logprob(piece: str, top: int) -> TokenLogprob:
    """The entry of one token, with the `top` most probable, at most as many as there are fixed words."""
    raw = piece.encode()
    place = len(raw) - 1
    order = list(islice((word for word in _ALTERNATIVES if word != piece), place + top))
    order.insert(place, piece)
    best = tuple((token_id(other), _logprob(at), other.encode()) for at, other in enumerate(order[:top]))
    return TokenLogprob(token_id(piece), _logprob(place), raw, best)


def prompt_logprobs(pieces: Sequence[str], top: int) -> tuple[TokenLogprob, ...]:
    """The entries of a prompt's tokens; the first follows nothing and has no probability."""
    first = tuple(TokenLogprob(token_id(piece), None, piece.encode()) for piece in pieces[:1])
    return (*first, *(token_logprob(piece, top) for piece in pieces[1:]))


def _logprob(place: int) -> float:
    return -(place + 1) * log(2)
