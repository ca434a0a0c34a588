"""How much the next step does, decided from values alone: how many prompt tokens fit beside the decodes.

A prompt chunk of `n_batch` tokens beside running streams would stall them for many times a decode step, and a native
decode call cannot be interrupted. So a step has a time budget, and chunk sizes follow from what steps were measured to
cost.
"""

from __future__ import annotations

from collections.abc import Sequence

STEP_STRETCH = 2.5
"""A step that carries tokens of a prompt may take this many times as long as the same step without them.

At 2 a long prompt beside streams takes twice the time that it takes alone, at 3 the streams are three times as slow.
"""

LONGEST_PREFILL_S = 0.6
"""Aim for a step that only evaluates prompts, in seconds: an abort or a new request waits at most about this long."""

LONGEST_SPECULATIVE_S = 0.06
"""The same where nobody waits for the prompt, so that whoever comes next hardly does either."""

SMALLEST_CHUNK = 4
"""Prompt tokens that a step takes at least, so that a prompt beside many streams still gets on."""

SMALLEST_PURE_CHUNK = 64
"""The same when nothing decodes; below this the weights are read again for too few tokens."""

_WEIGHT_OF_NEWEST = 0.25


class StepCost:
    """Running estimates, in seconds, of decode steps by width and of one prompt token."""

    def __init__(self) -> None:
        self._decode_s: dict[int, float] = {}
        self._prompt_token_s: float | None = None

    def observe(self, decodes: int, prefill: int, seconds: float) -> None:
        """Learn from one step of `decodes` rows of running sequences and `prefill` prompt tokens."""
        if not prefill:
            self._decode_s[decodes] = _smooth(self._decode_s.get(decodes), seconds)
        elif not decodes:
            self._prompt_token_s = _smooth(self._prompt_token_s, seconds / prefill)
        else:
            self._observe_both(decodes, prefill, seconds)

    def _observe_both(self, decodes: int, prefill: int, seconds: float) -> None:
        """Learn from a step that cannot be taken apart: both estimates follow it, and their ratio stays.

        So a machine that slows down for a while changes no chunk. Were the difference put down to the prompt, it would
        get smaller chunks, in which each token seems dearer still.
        """
        row_s = seconds / (decodes + prefill)
        decode_s, token_s = self._decode_s.get(decodes, decodes * row_s), self._prompt_token_s or row_s
        off = seconds / (decode_s + prefill * token_s)
        self._decode_s[decodes] = _smooth(decode_s, decode_s * off)
        self._prompt_token_s = _smooth(token_s, token_s * off)

    def decode_step(self, decodes: int) -> float:
        """Expected seconds of a step that decodes one token for `decodes` sequences; 0 as long as nothing is known."""
        if not self._decode_s:
            return 0.0
        known = min(self._decode_s, key=lambda width: (abs(width - decodes), width))
        return self._decode_s[known]

    def prefill_allowance(self, decodes: int, n_batch: int, *, prompts: int = 1, speculative: bool = False) -> int:
        """Prompt tokens that the next step may take beside `decodes` rows of running sequences, `n_batch` in all.

        Where more `prompts` wait than sequences run, what is added to a step grows with their ratio: to serve those who
        wait costs the few who run less than it saves, since larger steps also do more per second.
        """
        room = n_batch - decodes
        if not decodes:
            longest_s = LONGEST_SPECULATIVE_S if speculative else LONGEST_PREFILL_S
            smallest = SMALLEST_CHUNK if speculative else SMALLEST_PURE_CHUNK
            wanted = longest_s / self._prompt_token_s if self._prompt_token_s else SMALLEST_PURE_CHUNK
            return min(room, max(smallest, _power_of_two(wanted)))
        decode_s = self.decode_step(decodes)
        per_token = self._prompt_token_s or decode_s
        if not per_token:
            return min(room, SMALLEST_CHUNK)
        budget_s = (STEP_STRETCH - 1) * decode_s * max(1.0, prompts / decodes)
        return max(min(room, SMALLEST_CHUNK), min(room, int(min(budget_s, LONGEST_PREFILL_S) / per_token)))


def share_out(remaining: Sequence[int], allowance: int) -> list[int]:
    """Split an allowance of prompt tokens over prompts in order of arrival: the first takes all it can use."""
    shares = []
    for tokens in remaining:
        share = min(tokens, allowance)
        shares.append(share)
        allowance -= share
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
