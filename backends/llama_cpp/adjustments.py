"""What a request adds to logits before the draw: biases, and penalties on what has been said."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from backends.llama_cpp.logits import Ids, Logits
from backends.types import SamplingParams

_BANNING = -100.0
"""A bias as low as this makes a token impossible, as OpenAI's API has it."""


class Bias:
    """Logit bias, and tokens that must not come."""

    def __init__(self, logit_bias: dict[int, float], banned: Iterable[int] = ()) -> None:
        values = {token: value if value > _BANNING else -np.inf for token, value in logit_bias.items()}
        values.update(dict.fromkeys(banned, -np.inf))
        self._ids: Ids = np.fromiter(values, np.intp, len(values))
        self._values = np.fromiter(values.values(), np.float32, len(values))

    def __bool__(self) -> bool:
        return self._ids.size > 0

    def apply(self, logits: Logits) -> None:
        """Change a row of logits in place."""
        logits[self._ids] += self._values


class Penalties:
    """Repetition, frequency and presence penalties of one choice; remembers what they look at, however long ago.

    The repetition penalty counts the prompt, too, and divides positive logits but multiplies negative ones. The others
    look at the answer alone.
    """

    def __init__(self, params: SamplingParams) -> None:
        """`params` must be resolved."""
        self._repetition = 1.0 if params.repetition_penalty is None else params.repetition_penalty
        self._frequency, self._presence = params.frequency_penalty, params.presence_penalty
        self._places: dict[int, int] = {}
        self._ids = np.empty(64, np.intp)
        self._counts = np.zeros(64, np.float32)  # in the answer

    def __bool__(self) -> bool:
        return self._repetition != 1.0 or bool(self._frequency or self._presence)

    def see(self, prompt: Sequence[int]) -> None:
        """Count the tokens of the prompt."""
        if self._repetition != 1.0:
            for token in set(prompt):
                self._place(token)

    def accept(self, token: int) -> None:
        """Count a token of the answer."""
        place = self._place(token)  # may replace the array of counts
        self._counts[place] += 1

    def apply(self, logits: Logits) -> None:
        """Change a row of logits in place."""
        ids, counts = self._ids[: len(self._places)], self._counts[: len(self._places)]
        values = logits[ids]
        if self._repetition != 1.0:
            values = np.where(values > 0, values / self._repetition, values * self._repetition)
        values -= self._frequency * counts + self._presence * (counts > 0)
        logits[ids] = values

    def _place(self, token: int) -> int:
        place = self._places.setdefault(token, len(self._places))
        if place == self._ids.size:
            self._ids = np.concatenate((self._ids, np.empty_like(self._ids)))
            self._counts = np.concatenate((self._counts, np.zeros_like(self._counts)))
        self._ids[place] = token
        return place
