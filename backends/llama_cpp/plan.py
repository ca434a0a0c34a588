"""How much the next step does, decided from values alone: how many prompt tokens, beside the decodes or without them.

A prompt chunk of `n_batch` tokens beside running streams would stall them for many times a decode step, and a native
decode call cannot be interrupted. So a step has a time budget, and chunk sizes follow from what steps were measured to
cost.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from backends.llama_cpp.prompt_cost import WHOLE_CHUNK, PromptCost

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

DECODES_SHARE = 0.75
"""Seconds that running sequences get, at least, for each that a long prompt had the machine to itself.

With what the rests of others cost the prompt as well, it takes about twice as long as alone.
"""

STEPS_BETWEEN = 21
"""Steps of running sequences between two pauses for a long prompt: less than a 20th of their gaps are such pauses."""

LONGEST_PAUSE_S = 2 * LONGEST_PREFILL_S
"""A long prompt pauses the others for longer than `LONGEST_PREFILL_S`, up to this, where `STEPS_BETWEEN` would
else give them more than their share."""

MOST_DECODES_SHARE = 1.5
"""`DECODES_SHARE` at most, however long `STEPS_BETWEEN` take."""

LONGEST_SPECULATIVE_S = 0.06
"""`LONGEST_PREFILL_S` where nobody waits for the prompt, so that whoever comes next hardly does either."""

TILE = 64
"""Rows from which on llama.cpp's flash attention on a CPU works in tiles of so many, each of which computes with every
cell that any of its rows sees. So prompts do best in such tiles of their own, without decodes among them."""

SMALLEST_CHUNK = 4
"""Prompt tokens that a step takes at least, so that a prompt beside many streams still gets on."""

SMALLEST_PURE_CHUNK = WHOLE_CHUNK
"""`SMALLEST_CHUNK` when nothing decodes; below this the weights are read again for too few tokens."""

_WEIGHT_OF_NEWEST = 0.25
_MEASURE_EVERY = 16  # steps with prompts beside decodes; a pure decode step among so many costs the prompts little
_CHEAPEST = 4  # a prompt's row in a step is not believed to cost less than a decode's divided by this


class Waiting(NamedTuple):
    """The prompts that are not evaluated yet: how many, and their tokens that are left.

    The oldest has `oldest` tokens to evaluate in all, after `cached` ones; `filled` are there so far. `speculative`:
    nobody waits for them.
    """

    prompts: int = 0
    tokens: int = 0
    oldest: int = 0
    cached: int = 0
    filled: int = 0
    speculative: bool = False


class StepCost:
    """Running estimates, in seconds, of decode steps by width and of prompt tokens, alone and beside decodes.

    What a prompt token costs beside decodes is what the step took longer than the decodes alone. The machine may become
    slower or faster meanwhile, so every so often a step leaves the prompts out and measures the decodes anew.
    """

    def __init__(self, *, tiled: bool = False) -> None:
        """`tiled`: attention works in tiles of `TILE` rows."""
        self._tiled = tiled
        self._decode_s: dict[int, float] = {}
        self._beside_s: float | None = None
        self._alone = PromptCost()
        self._steps_beside = 0

    def observe(self, decodes: int, prefill: int, seconds: float, depth: int = 0) -> None:
        """Learn from one step of `decodes` rows of running sequences and `prefill` prompt tokens.

        `depth` other tokens precede these.
        """
        if not prefill:
            self._decode_s[decodes] = _smooth(self._decode_s.get(decodes), seconds)
            self._steps_beside = 0
        elif not decodes:
            self._alone.observe(prefill, depth, seconds)
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

    def prompts_alone(self, decodes: int, n_batch: int, waiting: Waiting) -> int:
        """Prompt tokens for a step in which the decodes that run have to rest; 0: prompts go along with them.

        They have to, if what waits fills a tile of the attention.
        """
        if not (self._tiled and decodes and waiting.prompts and self._alone.known):
            return 0
        tokens = self._most_alone(n_batch, waiting)
        if not self.is_short(waiting):
            if self._alone.prompt(TILE, waiting.filled) > LONGEST_PAUSE_S:
                return 0
            tiles = self._alone.tokens_in(self._pause_s(decodes), waiting.filled) / TILE
            tokens = min(n_batch, TILE * max(1, round(tiles)))
        rows = min(n_batch, min(tokens, waiting.tokens) + decodes)
        return tokens if decodes < TILE <= rows else 0

    def _pause_s(self, decodes: int) -> float:
        """Seconds that a long prompt has the machine to itself."""
        balanced = STEPS_BETWEEN * self.decode_step(decodes) / DECODES_SHARE
        return min(max(LONGEST_PREFILL_S, balanced), LONGEST_PAUSE_S)

    def decodes_due(self, seconds: float, decodes: int, waiting: Waiting) -> float:
        """Seconds of decodes that have to follow so many of prompts alone; at least one step does in any case.

        Where more prompts wait than sequences run it is less: to serve those who wait costs the few who run less than
        it saves, since wider steps also do more per second.
        """
        if self.is_short(waiting):
            return 0.0
        wanted = STEPS_BETWEEN * self.decode_step(decodes)
        fair = min(max(DECODES_SHARE * seconds, wanted), MOST_DECODES_SHARE * seconds)
        return fair / max(1.0, waiting.prompts / decodes)

    def prefill_allowance(self, decodes: int, n_batch: int, waiting: Waiting) -> int:
        """Prompt tokens that the next step may take beside `decodes` rows of running sequences, `n_batch` in all.

        It is 0 where the step is to measure the decodes.
        """
        if not waiting.prompts:
            return 0
        room = n_batch - decodes
        if not decodes or self.is_short(waiting):
            return min(room, self._most_alone(n_batch, waiting))
        if decodes not in self._decode_s or self._steps_beside >= _MEASURE_EVERY:
            return 0
        token_s = self._beside_s or self._alone.token(waiting.filled) or self._decode_s[decodes]
        wanted = int(min(self._budget_s(decodes, waiting), LONGEST_PREFILL_S) / token_s)
        if self._tiled and decodes + SMALLEST_CHUNK < TILE:
            wanted = min(wanted, TILE - 1 - decodes)
        return min(room, max(SMALLEST_CHUNK, wanted))

    def is_short(self, waiting: Waiting) -> bool:
        """Whether the oldest prompt is not worth spreading over steps."""
        return self._alone.known and self._alone.prompt(waiting.oldest, waiting.cached) <= LONGEST_PREFILL_S

    def _most_alone(self, n_batch: int, waiting: Waiting) -> int:
        """Prompt tokens of a step without decodes."""
        longest_s = LONGEST_SPECULATIVE_S if waiting.speculative else LONGEST_PREFILL_S
        smallest = SMALLEST_CHUNK if waiting.speculative else SMALLEST_PURE_CHUNK
        wanted = self._alone.tokens_in(longest_s, waiting.filled) if self._alone.known else SMALLEST_PURE_CHUNK
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
    """The power of two next to `tokens`.

    Where a prompt is cut moves its logits by a rounding error. So chunk sizes come from a coarse scale that noise in
    the measurements rarely crosses, and the same prompt alone is cut the same way each time.
    """
    return 1 << max(0, round(math.log2(max(tokens, 1.0))))


def _smooth(old: float | None, new: float) -> float:
    """The estimate after a measurement. One that was far too high, of a step that had to wait, is not kept."""
    return new if old is None or new < old / 2 else old + _WEIGHT_OF_NEWEST * (new - old)
