"""How much the next step does, decided from values alone: how many prompt tokens fit beside the decodes.

A prompt chunk of `n_batch` tokens beside running streams would stall them for many times a decode step, and a native
decode call cannot be interrupted. So a step has a time budget, and chunk sizes follow from what steps were measured to
cost.
"""

from __future__ import annotations

from collections.abc import Sequence

STEP_STRETCH = 2.5
"""A step that carries tokens of a prompt may take this many times as long as the same step without them.

More lets the streams wait longer for each token, less lets the prompt wait longer for its first.
"""

LONGEST_PREFILL_S = 1.0
"""Aim for a step that only evaluates prompts, in seconds: an abort or a new request waits at most about this long."""

LONGEST_SPECULATIVE_S = 0.06
"""The same where nobody waits for the prompt, so that whoever comes next hardly does either."""

SHORT_PROMPT_S = 1.25
"""A prompt that takes no longer than this alone is evaluated at once, beside whatever runs.

To spread it over many steps would cost the streams as much in all, and those who come together would run apart from
each other from then on, in narrower steps that do less per second.
"""

SMALLEST_CHUNK = 4
"""Prompt tokens that a step takes at least, so that a prompt beside many streams still gets on."""

SMALLEST_PURE_CHUNK = 64
"""The same when nothing decodes; below this the weights are read again for too few tokens."""

_WEIGHT_OF_NEWEST = 0.25
_MEASURE_EVERY = 16  # steps with prompts beside decodes; a pure decode step among so many costs the prompts little
_CHEAPEST = 4  # a prompt's row in a step is not believed to cost less than a decode's divided by this


class StepCost:
    """Running estimates, in seconds, of decode steps by width and of one prompt token, alone and beside decodes.

    What a prompt token costs beside decodes is what the step took longer than the decodes alone. The machine may become
    slower or faster meanwhile, so every so often a step leaves the prompts out and measures the decodes anew.
    """

    def __init__(self) -> None:
        self._decode_s: dict[int, float] = {}
        self._beside_s: float | None = None
        self._alone_s: float | None = None
        self._steps_beside = 0

    def observe(self, decodes: int, prefill: int, seconds: float) -> None:
        """Learn from one step of `decodes` rows of running sequences and `prefill` prompt tokens."""
        if not prefill:
            self._decode_s[decodes] = _smooth(self._decode_s.get(decodes), seconds)
            self._steps_beside = 0
        elif not decodes:
            self._alone_s = _smooth(self._alone_s, seconds / prefill)
        else:
            share_s = seconds * prefill / (decodes + prefill)
            extra_s = max(seconds - self.decode_step(decodes), share_s / _CHEAPEST)
            self._beside_s = _smooth(self._beside_s, extra_s / prefill)
            self._steps_beside += 1

    def decode_step(self, decodes: int) -> float:
        """Expected seconds of a step that decodes one token for `decodes` sequences; 0 as long as nothing is known."""
        if not self._decode_s:
            return 0.0
        known = min(self._decode_s, key=lambda width: (abs(width - decodes), width))
        return self._decode_s[known]

    def is_short(self, tokens: int) -> bool:
        """Whether a prompt with so many tokens to evaluate is not worth spreading over steps."""
        return self._alone_s is not None and tokens * self._alone_s <= SHORT_PROMPT_S

    def prefill_allowance(self, decodes: int, n_batch: int, *, prompts: int = 1, speculative: bool = False) -> int:
        """Prompt tokens that the next step may take beside `decodes` rows of running sequences, `n_batch` in all.

        Where more `prompts` wait than sequences run, what is added to a step grows with their ratio: to serve those who
        wait costs the few who run less than it saves, since larger steps also do more per second. None where the step
        is to measure the decodes.
        """
        room = n_batch - decodes
        if not decodes:
            longest_s = LONGEST_SPECULATIVE_S if speculative else LONGEST_PREFILL_S
            smallest = SMALLEST_CHUNK if speculative else SMALLEST_PURE_CHUNK
            wanted = longest_s / self._alone_s if self._alone_s else SMALLEST_PURE_CHUNK
            return min(room, max(smallest, _power_of_two(wanted)))
        if decodes not in self._decode_s or self._steps_beside >= _MEASURE_EVERY:
            return 0
        budget_s = (STEP_STRETCH - 1) * self._decode_s[decodes] * max(1.0, prompts / decodes)
        token_s = self._beside_s or self._alone_s or self._decode_s[decodes]
        return max(min(room, SMALLEST_CHUNK), min(room, int(min(budget_s, LONGEST_PREFILL_S) / token_s)))


def share_out(remaining: Sequence[int], allowance: int, *, rest: int = 0) -> list[int]:
    """Split an allowance of prompt tokens over prompts in order of arrival: the first takes all it can use.

    It takes up to `rest` tokens more if nothing is left of it then: a chunk of few tokens costs far more per token.
    """
    shares: list[int] = []
    for tokens in remaining:
        share = tokens if 0 < tokens <= allowance + rest and not shares else min(tokens, allowance)
        shares.append(share)
        allowance = max(allowance - share, 0)
    return shares


def new_tokens_allowed(wanted: int | None, prompt: int, n: int, *, window: int, cells: int) -> int:
    """How many tokens each of `n` choices may generate: what was asked for, the window and the cells permitting.

    Zero or less means that the prompt leaves no room for even one token.
    """
    room = min(window - prompt, (cells - prompt) // n)
    return room if wanted is None else min(wanted, room)


def _power_of_two(tokens: float) -> int:
    """The largest power of two up to `tokens`.

    Where a prompt is cut moves its logits by a rounding error. So chunk sizes come from a coarse scale that noise in
    the measurements rarely crosses, and the same prompt alone is cut the same way each time.
    """
    return 1 << max(int(tokens).bit_length() - 1, 0)


def _smooth(old: float | None, new: float) -> float:
    """The estimate after a measurement. One that was far too high, of a step that had to wait, is not kept."""
    return new if old is None or new < old / 2 else old + _WEIGHT_OF_NEWEST * (new - old)
