"""The rows of a table that are most like a vector."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernels.arguments import FLOAT32, INT8, LONGEST_INT8, Array, Floats, Ids, address, array, count, output, shaped
from kernels.levels import functions
from kernels.reference import lookups as reference

OVERSAMPLED = 4
"""Candidates per wanted row that are scored again."""


def similarity_topk(  # noqa: PLR0913
    rows: Array,
    query: Array,
    k: int,
    norms: Floats | None = None,
    rescore: tuple[Floats, Floats] | None = None,
    out: tuple[Ids, Floats] | None = None,
) -> tuple[Ids, Floats]:
    """The k rows with the highest cosine to the query: their indices (int64) and the cosines (float32), best first.

    `rows[n, d]` and `query[d]` are both int8 (d up to 131,071) or both float32. Of equal cosines the lower index comes
    first. A zero vector has the cosine 0 with everything; what is not a number comes last, as -inf. There are fewer
    than k results if there are fewer rows. `norms[n]`, the rows' lengths if they are known, saves computing them.

    `rescore`, for int8 rows, is the float32 `(rows[n, m], query[m])` that they were made from: four times as many
    candidates as wanted are chosen by the int8 rows, and ranked and scored by those. `out` is a pair of arrays.
    """
    whole = not (isinstance(rows, np.ndarray) and rows.dtype == FLOAT32)
    array("rows", rows, INT8 if whole else FLOAT32, 2)
    n, d = rows.shape
    shaped("query", query, rows.dtype, (d,))
    if whole and d > LONGEST_INT8:
        raise ValueError(f"rows has {d} columns: sums in int32 hold {LONGEST_INT8} products")
    if norms is not None:
        shaped("norms", norms, FLOAT32, (n,))
    k = min(count("k", k), n)
    if rescore is not None:
        return _rescored(rows, query, k, norms, rescore, out)
    return _best(rows, query, norms, *_outputs(out, k, rows, query))


def _best(rows: Array, query: Array, norms: Floats | None, indices: Ids, scores: Floats) -> tuple[Ids, Floats]:
    native, (n, d) = functions(), rows.shape
    if native is None:
        reference.similarity_topk(rows, query, norms, indices, scores)
        return indices, scores
    name = "topk_i8" if rows.dtype == INT8 else "topk_f32"
    lengths = None if norms is None else address(norms)
    native[name](address(rows), address(query), lengths, n, d, len(indices), address(indices), address(scores))
    return indices, scores


def _rescored(  # noqa: PLR0913
    rows: Array, query: Array, k: int, norms: Floats | None, rescore: Any, out: tuple[Ids, Floats] | None
) -> tuple[Ids, Floats]:
    if rows.dtype != INT8 or not isinstance(rescore, tuple) or len(rescore) != 2:
        raise ValueError("rescore must be a pair of float32 rows and query, and needs int8 rows")
    array("rescore[0]", rescore[0], FLOAT32, 2)
    exact_rows: Floats = shaped("rescore[0]", rescore[0], FLOAT32, (len(rows), rescore[0].shape[1]))
    exact_query: Floats = shaped("rescore[1]", rescore[1], FLOAT32, exact_rows.shape[1:])
    indices, scores = _outputs(out, k, rows, query, exact_rows, exact_query)
    candidates, _ = _best(rows, query, norms, *_outputs(None, min(OVERSAMPLED * k, len(rows))))
    candidates.sort()
    found, scores = _best(exact_rows[candidates], exact_query, None, *_outputs((np.empty_like(indices), scores), k))
    np.take(candidates, found, out=indices)
    return indices, scores


def _outputs(out: Any, k: int, *inputs: Array) -> tuple[Ids, Floats]:
    if out is None:
        return np.empty(k, np.int64), np.empty(k, np.float32)
    if not isinstance(out, tuple) or len(out) != 2:
        raise ValueError("out must be a pair of arrays, for indices and for scores")
    indices = output("out[0]", out[0], np.int64, (k,), *inputs)
    return indices, output("out[1]", out[1], np.float32, (k,), *inputs, indices)
