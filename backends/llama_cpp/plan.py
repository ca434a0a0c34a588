"""How much the next step does, decided from values alone: how many prompt tokens, beside the decodes or without them.

A prompt chunk of `n_batch` tokens beside running streams would stall them for many times a decode step, and a native
decode call cannot be interrupted. So a step has a time budget, and chunk sizes follow from what steps were measured to
cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

STEP_STRETCH = 2.5
"""A step that carries tokens of a prompt may take this many times as long as the same step without them.

More lets the streams wait longer for each token, less lets the prompt wait longer for its first.
"""

LONGEST_PREFILL_S = 1.5
"""Aim for a step that only evaluates prompts, in seconds: an abort or a new request waits at most about this long.

A prompt that takes no longer than this alone has no budget, whatever runs beside it. To spread it over many steps would
cost the streams as much in all, and those who come together would run apart from each other from then on, in narrower
steps that do less per second.
"""

DECODES_SHARE = 1.2
"""Seconds that running sequences get for each that a long prompt had the machine to itself: both get about half."""

STEPS_BETWEEN = 24
"""Steps of running sequences, at least, between two pauses for a long prompt: a pause is a rare one of their gaps."""

LONGEST_SPECULATIVE_S = 0.06
"""`LONGEST_PREFILL_S` where nobody waits for the prompt, so that whoever comes next hardly does either."""

TILE = 64
"""Rows from which on llama.cpp's flash attention on a CPU works in tiles of so many, each of which computes with every
cell that any of its rows sees. So prompts do best in such tiles of their own, without decodes among them."""

SMALLEST_CHUNK = 4
"""Prompt tokens that a step takes at least, so that a prompt beside many streams still gets on."""

SMALLEST_PURE_CHUNK = 64
"""`SMALLEST_CHUNK` when nothing decodes; below this the weights are read again for too few tokens."""

_WEIGHT_OF_NEWEST = 0.25
_MEASURE_EVERY = 16  # steps with prompts beside decodes; a pure decode step among so many costs the prompts little
_CHEAPEST = 4  # a prompt's row in a step is not believed to cost less than a decode's divided by this


class Waiting(NamedTuple):
    """The prompts that are not evaluated yet: how many, their tokens that are left, and what the `oldest` has in all.

    `speculative`: nobody waits for them.
    """

    prompts: int = 0
    tokens: int = 0
    oldest: int = 0
    speculative: bool = False


class StepCost:
    """Running estimates, in seconds, of decode steps by width and of one prompt token, alone and beside decodes.

    What a prompt token costs beside decodes is what the step took longer than the decodes alone. The machine may become
    slower or faster meanwhile, so every so often a step leaves the prompts out and measures the decodes anew.
    """

    def __init__(self, *, tiled: bool = False) -> None:
        """`tiled`: attention works in tiles of `TILE` rows."""
        self._tiled = tiled
        self._decode_s: dict[int, float] = {}
        self._beside_s: float | None = None
        self._alone_s: float | None = None
        self._alone_is_sure = False
        self._steps_beside = 0

    def observe(self, decodes: int, prefill: int, seconds: float) -> None:
        """Learn from one step of `decodes` rows of running sequences and `prefill` prompt tokens."""
        if not prefill:
            self._decode_s[decodes] = _smooth(self._decode_s.get(decodes), seconds)
            self._steps_beside = 0
        elif not decodes:
            self._observe_alone(prefill, seconds)
        else:
            share_s = seconds * prefill / (decodes + prefill)
            extra_s = max(seconds - self.decode_step(decodes), share_s / _CHEAPEST)
            self._beside_s = _smooth(self._beside_s, extra_s / prefill)
            self._steps_beside += 1

    def _observe_alone(self, prefill: int, seconds: float) -> None:
        """A few tokens cost more each than those of a whole chunk, so they only count as long as no chunk was seen."""
        sure = prefill >= SMALLEST_PURE_CHUNK
        if sure or not self._alone_is_sure:
            old = self._alone_s if sure == self._alone_is_sure else None
            self._alone_s, self._alone_is_sure = _smooth(old, seconds / prefill), sure

    def decode_step(self, decodes: int) -> float:
        """Expected seconds of a step that decodes one token for `decodes` sequences; 0 as long as nothing is known."""
        if not self._decode_s:
            return 0.0
        known = min(self._decode_s, key=lambda width: (abs(width - decodes), width))
        return self._decode_s[known]

    def prompts_alone(self, decodes: int, n_batch: int, waiting: Waiting) -> int:
        """Prompt tokens for a step in which the decodes that run have to rest; 0: prompts go along with them.

        They have to, if what waits fills a tile of the attention.
        """
        if not (self._tiled and decodes and waiting.prompts and self._alone_s):
            return 0
        tokens = self._alone(n_batch, waiting)
        if not self._is_short(waiting):
            tokens = min(n_batch, TILE * max(1, round(LONGEST_PREFILL_S / self._alone_s / TILE)))
        rows = min(n_batch, min(tokens, waiting.tokens) + decodes)
        return tokens if decodes < TILE <= rows else 0

    def decodes_due(self, seconds: float, decodes: int, waiting: Waiting) -> float:
        """Seconds of decodes that have to follow so many of prompts alone; at least one step does in any case.

        Where more prompts wait than sequences run it is less: to serve those who wait costs the few who run less than
        it saves, since wider steps also do more per second.
        """
        if self._is_short(waiting):
            return 0.0
        fair = max(DECODES_SHARE * seconds, STEPS_BETWEEN * self.decode_step(decodes))
        return fair / max(1.0, waiting.prompts / decodes)

    def prefill_allowance(self, decodes: int, n_batch: int, waiting: Waiting) -> int:
        """Prompt tokens that the next step may take beside `decodes` rows of running sequences, `n_batch` in all.

        It is 0 where the step is to measure the decodes.
        """
        if not waiting.prompts:
            return 0
        room = n_batch - decodes
        if not decodes or self._is_short(waiting):
            return min(room, self._alone(n_batch, waiting))
        if decodes not in self._decode_s or self._steps_beside >= _MEASURE_EVERY:
            return 0
        token_s = self._beside_s or self._alone_s or self._decode_s[decodes]
        wanted = int(min(self._budget_s(decodes, waiting), LONGEST_PREFILL_S) / token_s)
        if self._tiled and decodes + SMALLEST_CHUNK < TILE:
            wanted = min(wanted, TILE - 1 - decodes)
        return min(room, max(SMALLEST_CHUNK, wanted))

    def _is_short(self, waiting: Waiting) -> bool:
        """Whether the oldest prompt is not worth spreading over steps."""
        return self._alone_s is not None and waiting.oldest * self._alone_s <= LONGEST_PREFILL_S

    def _alone(self, n_batch: int, waiting: Waiting) -> int:
        """Prompt tokens of a step without decodes."""
        longest_s = LONGEST_SPECULATIVE_S if waiting.speculative else LONGEST_PREFILL_S
        smallest = SMALLEST_CHUNK if waiting.speculative else SMALLEST_PURE_CHUNK
        wanted = longest_s / self._alone_s if self._alone_s else SMALLEST_PURE_CHUNK
        return min(n_batch, max(smallest, _power_of_two(wanted)))

    def _budget_s(self, decodes: int, waiting: Waiting) -> float:
        """Seconds for prompts beside decodes.

        Where more prompts wait than sequences run, it grows with their ratio: to serve those who wait costs the few who
        run less than it saves, since larger steps also do more per second.
        """
        return (STEP_STRETCH - 1) * self.decode_step(decodes) * max(1.0, waiting.prompts / decodes)


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
