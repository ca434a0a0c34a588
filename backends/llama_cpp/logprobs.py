"""Log-probabilities of tokens, from rows of logits: pure NumPy, no context needed.

They are the model's own: natural logarithms of the softmax over raw logits, before temperature, penalties, bias and
masks, as OpenAI's API and vLLM give them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from msgspec import structs

import kernels
from backends.llama_cpp.logits import Logits, cleaned
from backends.types import Delta, TokenLogprob

Piece = Callable[[int], bytes]
"""The bytes of a token, control tokens written out."""

_ENTRIES_PER_DELTA = 512


def token_logprob(logits: Logits, token: int, top: int, piece: Piece) -> TokenLogprob:
    """The log-probability of `token`, and the `top` most probable tokens in falling order (of equals the lower id).

    Sums are taken in double precision. The logarithm of nothing is `-inf`: a logit of `-inf` or NaN, or a row without a
    single finite one. Whoever writes JSON has to replace it.
    """
    normaliser, found, _ = kernels.logsumexp_topk(logits, max(top, 1))
    if not math.isfinite(normaliser):
        logits, normaliser = cleaned(logits), _of_special(normaliser, logits)

    def logprob(id: int) -> float:
        score = float(logits[id])
        return score - normaliser if score == score else -math.inf

    best = tuple((id, logprob(id), piece(id)) for id in found[:top].tolist())
    return TokenLogprob(token, logprob(token), piece(token), best)


def prompt_logprobs(rows: Iterable[Logits], tokens: Sequence[int], top: int, piece: Piece) -> list[TokenLogprob]:
    """One entry per row: what `token_logprob` says of `tokens[i]` by `rows[i]`, the logits of the position before it.

    `rows` may be an array of rows × vocabulary or any iterable of rows. They are taken one by one, so a long stretch
    of a prompt needs no more memory than a row. Raises `ValueError` if there are more or fewer rows than tokens.
    """
    return [token_logprob(row, token, top, piece) for row, token in zip(rows, tokens, strict=True)]


def first_of_prompt(token: int, piece: Piece) -> TokenLogprob:
    """The entry of a prompt's first token, which follows nothing."""
    return TokenLogprob(token, None, piece(token))


def as_echoed(entries: Iterable[TokenLogprob], text: str, adds_text: Callable[[int], bool]) -> tuple[TokenLogprob, ...]:
    """A prompt's entries as they stand in its echoed `text`.

    Tokens that the text lacks (a BOS that the server has added) are marked as not shown; a first token loses the space
    that some vocabularies put before every text. Where text and tokens differ, as where bytes that are not UTF-8 became
    U+FFFD, `adds_text` decides: it is false for control tokens.
    """
    raw_text, at, found = text.encode(), 0, []
    for entry in entries:
        raw = entry.raw
        if at == 0 and not raw_text.startswith(raw) and raw[:1] == b" " and raw_text.startswith(raw[1:]):
            raw = raw[1:]
        shown = raw_text.startswith(raw, at)
        at += len(raw) if shown else 0
        found.append(structs.replace(entry, raw=raw, shown=shown or adds_text(entry.token_id)))
    return tuple(found)


def echo_deltas(index: int, text: str, entries: Sequence[TokenLogprob]) -> list[Delta]:
    """A choice's echo: the text at once, its entries over as many deltas as it takes to keep each of them small.

    A prompt of tens of thousands of tokens with twenty alternatives each would not fit one frame between the processes.
    """
    starts = range(_ENTRIES_PER_DELTA, len(entries), _ENTRIES_PER_DELTA)
    rest = (tuple(entries[start : start + _ENTRIES_PER_DELTA]) for start in starts)
    first = Delta(index, text, logprobs=tuple(entries[:_ENTRIES_PER_DELTA]))
    return [first, *(Delta(index, logprobs=part) for part in rest)]


def _of_special(normaliser: float, logits: Logits) -> float:
    """What to subtract from a row that was cleaned because its sum is not finite."""
    return math.log(int(np.isposinf(logits).sum())) if normaliser > 0 else 0.0
