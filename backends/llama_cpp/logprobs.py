"""Log-probabilities of tokens, from rows of logits: pure NumPy, no context needed.

They are the model's own: natural logarithms of the softmax over raw logits, before temperature, penalties, bias and
masks, as OpenAI's API and vLLM give them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from backends.echo import Piece
from backends.llama_cpp.logits import Logits, cleaned, highest
from backends.types import TokenLogprob


def token_logprob(logits: Logits, token: int, top: int, piece: Piece) -> TokenLogprob:
    """The log-probability of `token`, and the `top` most probable tokens in falling order (of equals the lower id).

    Sums are taken in double precision. The logarithm of nothing is `-inf`: a logit of `-inf` or NaN, or a row without a
    single finite one. Whoever writes JSON has to replace it.
    """
    scores, normaliser = _normalised(logits)

    def logprob(id: int) -> float:
        return float(scores[id]) - normaliser

    best = tuple((id, logprob(id), piece(id)) for id in highest(scores, top).tolist())
    return TokenLogprob(token, logprob(token), piece(token), best)


def prompt_logprobs(rows: Iterable[Logits], tokens: Sequence[int], top: int, piece: Piece) -> list[TokenLogprob]:
    """One entry per row: what `token_logprob` says of `tokens[i]` by `rows[i]`, the logits of the position before it.

    `rows` may be an array of rows × vocabulary or any iterable of rows. They are taken one by one, so a long stretch
    of a prompt needs no more memory than a row. Raises `ValueError` if there are more or fewer rows than tokens.
    """
    return [token_logprob(row, token, top, piece) for row, token in zip(rows, tokens, strict=True)]


def _normalised(logits: Logits) -> tuple[Logits, float]:
    """The row without NaN, and what to subtract from it: the logarithm of the sum of its exponentials."""
    most = logits.max()
    if not np.isfinite(most):
        logits = cleaned(logits)
        most = logits.max()
    if np.isneginf(most):
        return logits, 0.0
    # Differences from the maximum are all that float32 has to hold; the sum of up to 10⁵ of them is a double.
    return logits, float(most) + float(np.log(np.exp(logits - most).sum(dtype=np.float64)))
