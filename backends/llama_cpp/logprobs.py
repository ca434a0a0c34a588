"""Log-probabilities of tokens, from rows of logits: pure NumPy, no context needed.

They are the model's own: natural logarithms of the softmax over raw logits, before temperature, penalties, bias and
masks, as OpenAI's API and vLLM give them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

import kernels
from backends.echo import Piece
from backends.llama_cpp.logits import Logits, cleaned
from backends.types import TokenLogprob


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


def _of_special(normaliser: float, logits: Logits) -> float:
    """What to subtract from a row that was cleaned because its sum is not finite."""
    return math.log(int(np.isposinf(logits).sum())) if normaliser > 0 else 0.0
