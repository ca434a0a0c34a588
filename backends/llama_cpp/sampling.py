"""How the next token is drawn from a row of logits, by a request's sampling parameters.

Order, the same as vLLM's so that both engines mean the same by a request: logit bias, penalties, temperature, min-p,
top-k, typical-p, top-p, then the draw. Temperature 0 (or next to it) is the arg-max after bias and penalties.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from backends.base import EngineError
from backends.llama_cpp.adjustments import Bias, Penalties
from backends.llama_cpp.logits import Ids, Logits, cleaned
from backends.llama_cpp.race import draw
from backends.llama_cpp.truncation import Weights, lowest_by_min_p, top_k, top_p, typical_p
from backends.types import SamplingParams

_COLDEST = 1e-5  # dividing by less overflows; vLLM, too, takes the arg-max below it
_SEEDS = 2**64


class Scratch:
    """Room for one row of numbers; all samplers of a thread share it, and nothing stays in it between two draws."""

    def __init__(self, vocab_size: int) -> None:
        self.row = np.empty(vocab_size, np.float32)


class Sampler:
    """Draws one choice's tokens."""

    def __init__(self, params: SamplingParams, scratch: Scratch, *, choice: int, banned: Iterable[int] = ()) -> None:
        """`params` must be resolved; choice i of a request draws with seed + i; `banned` ids never come."""
        self._scratch = scratch
        self._bias, self._penalties = Bias(params.logit_bias, banned), Penalties(params)
        self._temperature = params.temperature or 0.0
        self._top_k, self._min_p = max(0, params.top_k or 0), params.min_p or 0.0
        by_weight = ((typical_p, params.typical_p), (top_p, params.top_p))
        self._by_weight = [(rule, share) for rule, share in by_weight if share is not None and share < 1]
        seed = None if params.seed is None else (params.seed + choice) % _SEEDS
        self._random = np.random.PCG64(seed)

    def see(self, prompt: Sequence[int]) -> None:
        """Let the repetition penalty, the only one that looks at the prompt, count the prompt's tokens."""
        self._penalties.see(prompt)

    def sample(self, logits: Logits) -> int:
        """Draw from a row of logits, which stays as it is, and remember the token for the penalties.

        NaN is as impossible as `-inf`. Raises `EngineError` if nothing is possible.
        """
        with np.errstate(all="ignore"):  # infinities are wanted: of nothing, and of differences beyond float32
            token = self._draw(self._adjusted(logits))
        if self._penalties:
            self._penalties.accept(token)
        return token

    def _adjusted(self, logits: Logits) -> Logits:
        if not (self._bias or self._penalties):
            return logits
        row = self._scratch.row
        np.copyto(row, logits)
        self._bias.apply(row)
        self._penalties.apply(row)
        return row

    def _draw(self, row: Logits) -> int:
        best = int(row.argmax())  # the place of a NaN, if there is one
        if not math.isfinite(row[best]):
            row = cleaned(row)
            best = int(row.argmax())
            if row[best] == -np.inf:
                raise EngineError(
                    "no token can come next: the model's logits are not numbers, or the request forbids every token"
                )
        if self._temperature < _COLDEST:
            return best
        ids = self._by_logit(row, float(row[best]))
        scores = row if ids is None else row[ids]
        weights = self._weights(scores, row[best])
        for rule, share in self._by_weight:
            kept = rule(weights, share)
            ids, weights = kept if ids is None else ids[kept], weights[kept]
        return draw(weights, self._random.random_raw(), ids)

    def _by_logit(self, row: Logits, highest: float) -> Ids | None:
        """What min-p and top-k leave; `None` is everything."""
        ids = top_k(row, self._top_k) if self._top_k else None
        if not self._min_p:
            return ids
        lowest = lowest_by_min_p(highest, self._temperature, self._min_p)
        return np.flatnonzero(row >= lowest) if ids is None else ids[row[ids] >= lowest]

    def _weights(self, scores: Logits, highest: np.float32) -> Weights:
        """Probabilities times that of the most probable one, in the scratch."""
        weights: Weights = self._scratch.row[: scores.size]
        np.subtract(scores, highest, out=weights)
        if self._temperature != 1.0:
            np.multiply(weights, np.float32(1 / self._temperature), out=weights)
        return np.exp(weights, out=weights)


def suppress(logits: NDArray[np.float32], tokens: Iterable[int]) -> None:
    """Make tokens impossible in one row of logits, for this draw only."""
    for token in tokens:
        logits[token] = -np.inf
