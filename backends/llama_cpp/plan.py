"""What the next step does, decided from values alone: how many prompt tokens fit beside the decodes, who gets cells.

A prompt chunk of `n_batch` tokens beside running streams would stall them for many times a decode step, and a native
decode call cannot be interrupted. So a step has a time budget, and chunk sizes follow from what steps were measured to
cost.
"""

from __future__ import annotations

from collections.abc import Sequence

STEP_STRETCH = 2.0
"""A step that carries prompt tokens may take this many times as long as the same step without them."""

LONGEST_PREFILL_S = 0.25
"""Aim for a step that only evaluates prompts, in seconds: an abort or a new request waits at most about this long."""

SMALLEST_CHUNK = 4
"""Prompt tokens that a step takes at least, so that a prompt beside many streams still gets on."""

SMALLEST_PURE_CHUNK = 64
"""The same when nothing decodes; below this the weights are read again for too few tokens."""

_WEIGHT_OF_NEWEST = 0.25


class StepCost:
    """Running estimates, in seconds, of decode steps by width and of one prompt token alone or beside decodes."""

    def __init__(self) -> None:
        self._decode_s: dict[int, float] = {}
        self._beside_s: float | None = None
        self._alone_s: float | None = None

    def observe(self, decodes: int, prefill: int, seconds: float) -> None:
        """Learn from one step of `decodes` sequences and `prefill` prompt tokens that took `seconds`."""
        if not prefill:
            self._decode_s[decodes] = _smooth(self._decode_s.get(decodes), seconds)
        elif not decodes:
            self._alone_s = _smooth(self._alone_s, seconds / prefill)
        else:
            extra = max(seconds - self.decode_step(decodes), 0.0) / prefill
            self._beside_s = _smooth(self._beside_s, extra)

    def decode_step(self, decodes: int) -> float:
        """Expected seconds of a step that decodes one token for `decodes` sequences; 0 as long as nothing is known."""
        if not self._decode_s:
            return 0.0
        known = min(self._decode_s, key=lambda width: (abs(width - decodes), width))
        return self._decode_s[known]

    def prefill_allowance(self, decodes: int, n_batch: int) -> int:
        """Prompt tokens that the next step may take beside `decodes` running sequences, `n_batch` rows in all."""
        room = n_batch - decodes
        if not decodes:
            wanted = LONGEST_PREFILL_S / self._alone_s if self._alone_s else SMALLEST_PURE_CHUNK
            return min(room, max(SMALLEST_PURE_CHUNK, _power_of_two(wanted)))
        decode_s = self.decode_step(decodes)
        per_token = self._beside_s or self._alone_s or decode_s
        if not per_token:
            return min(room, SMALLEST_CHUNK)
        return max(min(room, SMALLEST_CHUNK), min(room, int((STEP_STRETCH - 1) * decode_s / per_token)))


def share_out(remaining: Sequence[int], allowance: int) -> list[int]:
    """Split an allowance of prompt tokens over prompts in order of arrival: the first takes all it can use."""
    shares = []
    for tokens in remaining:
        share = min(tokens, allowance)
        shares.append(share)
        allowance -= share
    return shares


class CellBudget:
    """Counts KV cells and sequence ids; a request gets all that it can ever need, or waits."""

    def __init__(self, cells: int, sequences: int) -> None:
        self.total = cells
        self.free = cells
        self._free_sequences = list(reversed(range(sequences)))

    def can_reserve(self, cells: int, sequences: int) -> bool:
        """Whether `reserve` would succeed now."""
        return cells <= self.free and sequences <= len(self._free_sequences)

    def reserve(self, cells: int, sequences: int) -> list[int]:
        """Take cells and sequence ids. Raises `ValueError` if there are too few; ask `can_reserve` first."""
        if not self.can_reserve(cells, sequences):
            raise ValueError(f"{cells} cells and {sequences} sequences are not free")
        self.free -= cells
        return [self._free_sequences.pop() for _ in range(sequences)]

    def release(self, cells: int, sequences: Sequence[int]) -> None:
        """Give back what `reserve` gave."""
        self.free += cells
        self._free_sequences.extend(sequences)


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
    return new if old is None else old + _WEIGHT_OF_NEWEST * (new - old)
