"""Vectors of texts from a table: the weighted rows of a text's tokens, summed, brought to length 1."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

import kernels
from app.embedding.wordpiece import WordPiece

Floats = NDArray[np.float32]
_SMALLEST = 1e-6


class StaticEmbedder:
    """A table `[rows, width]` of int8 with one scale per row, and the tokeniser whose ids are its rows.

    Ids below `first` are control tokens and have no row. Behind the vocabulary come the rows of unknown words, and last
    the one for texts in which nothing has a row, which have a vector, too.
    """

    def __init__(self, tokens: WordPiece, table: NDArray[np.int8], scales: Floats, first: int) -> None:
        if table.dtype != np.int8 or table.ndim != 2 or scales.shape != (len(table),) or scales.dtype != np.float32:
            raise ValueError("the table must be int8 [rows, width] with one float32 scale per row")
        if not 0 <= first < len(tokens.vocabulary) or len(table) <= len(tokens.vocabulary) - first:
            raise ValueError("the table must have a row per token and one for texts without any")
        self.tokens = tokens
        self._table = table
        self._scales = scales
        self._first = first

    @property
    def width(self) -> int:
        """Numbers in a vector."""
        return int(self._table.shape[1])

    @property
    def parameters(self) -> int:
        """Numbers in the table."""
        return self._table.size

    @property
    def size_bytes(self) -> int:
        """Bytes of the table and its scales."""
        return self._table.nbytes + self._scales.nbytes

    def words(self) -> tuple[list[str], Floats]:
        """The vocabulary's words of two letters and more, and their rows [words, width], rare words the longest."""
        known = enumerate(self.tokens.vocabulary)
        ids = [i for i, word in known if i >= self._first and len(word) > 1 and self._is_word(word, i)]
        rows = np.array(ids, np.int64) - self._first
        return [self.tokens.vocabulary[i] for i in ids], self._table[rows] * self._scales[rows, None]

    def _is_word(self, word: str, token: int) -> bool:
        return word.isalpha() and tuple(self.tokens.encode(word)) == (token,)

    def vector(self, text: str) -> Floats:
        """[width]: the vector of a text, of length 1."""
        return self.of_ids(self.tokens.encode(text))

    def vectors(self, texts: Sequence[str]) -> Floats:
        """[texts, width]: the vectors of texts, each of length 1."""
        return np.array([self.vector(text) for text in texts], np.float32).reshape(len(texts), self.width)

    def of_ids(self, ids: Sequence[int], dimensions: int | None = None) -> Floats:
        """[dimensions, or width]: the vector of tokens, of length 1; the first numbers say most."""
        rows = np.array(ids, np.int64) - self._first
        if rows.size and int(rows.min()) < 0:
            rows = rows[rows >= 0]
        if rows.size:
            summed = kernels.gather_accumulate(self._table, rows, self._scales[rows])[:dimensions]
            length = math.sqrt(summed @ summed)
            if length > _SMALLEST:
                return np.asarray(summed / np.float32(length))
        nothing = self._table[-1, :dimensions].astype(np.float32)
        return np.asarray(nothing / np.linalg.norm(nothing))
