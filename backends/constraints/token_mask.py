"""From a bit per token to logits in which only the allowed tokens are possible."""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

_BIT = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little")
_ADDEND = np.where(_BIT, np.float32(0), np.float32(-np.inf)).astype(np.float32)
"""By the value of a byte of the mask: what is added to the logits of its eight tokens."""


class TokenMask(threading.local):
    """Working memory for one vocabulary; every thread that uses an instance has its own.

    `bits` has a bit per token, lowest bit first, in whole 32-bit words; `address` and `nbytes` are for native code.
    """

    def __init__(self, vocab_size: int, mask_size: int) -> None:
        """`mask_size` is the number of tokens that whoever fills the mask knows: not fewer than `vocab_size`."""
        self.bits: NDArray[np.uint8] = np.zeros(-(-mask_size // 32) * 4, np.uint8)
        self.address: int = self.bits.ctypes.data
        self.nbytes: int = self.bits.nbytes
        self._size = vocab_size
        self._used = self.bits[: -(-vocab_size // 8)]
        self._addends: NDArray[np.float32] = np.empty((len(self._used), 8), np.float32)
        self._row = self._addends.reshape(-1)[:vocab_size]

    def apply(self, logits: NDArray[np.float32]) -> None:
        """Set the logits, one per token of the vocabulary, of all tokens without a bit to minus infinity, in place."""
        # A table of additions is many times as fast as selecting by booleans, and always takes the same time.
        np.take(_ADDEND, self._used, axis=0, out=self._addends, mode="clip")
        logits += self._row
