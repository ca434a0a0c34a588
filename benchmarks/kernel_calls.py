"""The calls that `benchmarks.kernels` measures, with the bytes that each must move and what it is measured beside."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

import kernels
from backends.constraints.token_mask import TokenMask
from backends.llama_cpp.logprobs import token_logprob

VOCABULARIES = (32_000, 150_000)
ENTRIES, WIDTH = 20_000, 384

Floats = NDArray[np.float32]
Run = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Call:
    """One measured call of a public function. Without peers it is measured beside its own NumPy level."""

    name: str
    function: str
    run: Run
    nbytes: int
    peers: Mapping[str, Run] = field(default_factory=dict)


def calls() -> Iterator[Call]:
    """All of them."""
    rng = np.random.default_rng(0)
    yield from overheads(rng)
    yield from similarities(rng)
    yield from sums(rng)
    yield from rows_of_logits(rng)
    yield from rows(rng)
    yield from matrices(rng)
    yield from weights(rng)
    text = b"The quick brown fox jumps over the lazy dog, as foxes do. " * 36
    state = kernels.TextState()
    yield Call(
        f"text_features, {len(text)} bytes", "text_features", lambda: kernels.text_features(text, state), len(text)
    )


def floats(rng: np.random.Generator, *shape: int) -> Floats:
    return rng.standard_normal(shape).astype(np.float32)


def whole(rng: np.random.Generator, *shape: int) -> NDArray[np.int8]:
    return rng.integers(-127, 128, shape).astype(np.int8)


def overheads(rng: np.random.Generator) -> Iterator[Call]:
    """Calls with next to nothing to do."""
    table, ids, out = whole(rng, 9, 8), np.array([3]), np.empty(8, np.int32)
    bound, x, result = kernels.bind(table, out), floats(rng, 8), np.empty(8, np.float32)
    yield Call(
        "call: bind's function, 1 id of width 8",
        "gather_accumulate",
        lambda: bound(ids),
        48,
        {"NumPy": lambda: np.sum(table[ids], 0)},
    )
    yield Call(
        "call: gather_accumulate, 1 id of width 8",
        "gather_accumulate",
        lambda: kernels.gather_accumulate(table, ids, out=out),
        48,
    )
    yield Call("call: softmax, 8 numbers", "softmax", lambda: kernels.softmax(x, result), 64)
    yield Call("call: rmsnorm, 8 numbers", "rmsnorm", lambda: kernels.rmsnorm(x, x, out=result), 96)
    yield Call(
        "call: similarity_topk, 9 rows of 8", "similarity_topk", lambda: kernels.similarity_topk(table, table[3], 2), 80
    )


def similarities(rng: np.random.Generator) -> Iterator[Call]:
    """The ten nearest of many vectors."""
    table = whole(rng, ENTRIES, WIDTH)
    query, exact = table[77].copy(), table.astype(np.float32)
    exact_query = exact[77].copy()
    norms = np.linalg.norm(exact, axis=1).astype(np.float32)
    size = f"{ENTRIES} × {WIDTH}"

    def numpy() -> object:
        scores = exact @ exact_query / norms
        return np.argpartition(scores, -10)[-10:]

    peers: dict[str, Run] = {"NumPy float32": numpy}
    yield Call(
        f"similarity_topk, int8 {size}",
        "similarity_topk",
        lambda: kernels.similarity_topk(table, query, 10),
        table.nbytes,
        peers | numkong(table, query),
    )
    yield Call(
        f"similarity_topk, int8 {size}, known norms",
        "similarity_topk",
        lambda: kernels.similarity_topk(table, query, 10, norms),
        table.nbytes,
        peers,
    )
    yield Call(
        f"similarity_topk, float32 {size}",
        "similarity_topk",
        lambda: kernels.similarity_topk(exact, exact_query, 10),
        exact.nbytes,
        peers | numkong(exact, exact_query),
    )


def numkong(table: NDArray[np.generic], query: NDArray[np.generic]) -> dict[str, Run]:
    """NumKong's angular distances to all rows, where it is installed; what picks the best of them is left out."""
    try:
        from numkong import cdist
    except ImportError:
        return {}
    one = query[None]
    return {"NumKong, all distances": lambda: cdist(one, table, metric="angular")}


def sums(rng: np.random.Generator) -> Iterator[Call]:
    """What features add up to."""
    ids = rng.integers(0, 5000, 64)
    for width in (16, WIDTH):
        table, exact = whole(rng, 5000, width), floats(rng, 5000, width)
        bound = kernels.bind(table, np.empty(width, np.int32))
        yield Call(
            f"bind's function, 64 ids of int8 × {width}",
            "gather_accumulate",
            partial(bound, ids),
            64 * width,
            {"NumPy": partial(rows_summed, table, ids)},
        )
        yield Call(
            f"gather_accumulate, 64 ids of float32 × {width}",
            "gather_accumulate",
            partial(kernels.gather_accumulate, exact, ids),
            256 * width,
        )


def rows_summed(table: NDArray[np.int8], ids: NDArray[np.int64]) -> object:
    """How it is written in NumPy."""
    return table[ids].sum(axis=0, dtype=np.int32)


def rows_of_logits(rng: np.random.Generator) -> Iterator[Call]:
    """What the llama.cpp engine does with them, beside what it does it with."""
    for size in VOCABULARIES:
        logits = 3 * floats(rng, size)
        mask, masked = TokenMask(size, size), logits.copy()
        mask.bits[:] = rng.integers(0, 256, mask.bits.size)
        yield Call(
            f"logsumexp_topk, {size} logits, 20 best",
            "logsumexp_topk",
            partial(kernels.logsumexp_topk, logits, 20),
            logits.nbytes,
        )
        yield Call(
            f"token_logprob of the engine, {size} logits, 20 best",
            "logsumexp_topk",
            partial(token_logprob, logits, 1, 20, lambda _: b""),
            logits.nbytes,
        )
        yield Call(
            f"apply_token_mask, {size} logits",
            "apply_token_mask",
            partial(kernels.apply_token_mask, masked, mask.bits.view(np.uint32), masked),
            2 * logits.nbytes,
            {"engine": partial(mask.apply, logits)},
        )


def rows(rng: np.random.Generator) -> Iterator[Call]:
    """Functions over rows of floats."""
    x, weight, out = floats(rng, 64, 4096), floats(rng, 4096), np.empty((64, 4096), np.float32)
    heads, tables = floats(rng, 64, 32, 128), kernels.rope_tables(64, 128)
    yield Call("softmax, 64 × 4096", "softmax", lambda: kernels.softmax(x, out), 2 * x.nbytes)
    yield Call("rmsnorm, 64 × 4096", "rmsnorm", lambda: kernels.rmsnorm(x, weight, out=out), 2 * x.nbytes)
    yield Call("swiglu, 64 × 4096", "swiglu", lambda: kernels.swiglu(x, x, out), 2 * x.nbytes)
    yield Call("gelu, 64 × 4096", "gelu", lambda: kernels.gelu(x, out), 2 * x.nbytes)
    yield Call("rope, 64 × 32 × 128, half-split", "rope", lambda: kernels.rope(heads, *tables), 2 * heads.nbytes)
    yield Call("rope, 64 × 32 × 128, interleaved", "rope", lambda: kernels.rope(heads, *tables, True), 2 * heads.nbytes)


def matrices(rng: np.random.Generator) -> Iterator[Call]:
    """Products and attention."""
    a, b, out = floats(rng, 256, 256), floats(rng, 256, 256), np.empty((256, 256), np.float32)
    whole_a, whole_b = whole(rng, 256, 256), whole(rng, 256, 256)
    q, k, v = floats(rng, 8, 1, 64), floats(rng, 2, 2048, 64), floats(rng, 2, 2048, 64)
    yield Call("matmul, 256 × 256 × 256", "matmul", lambda: kernels.matmul(a, b, out), 3 * a.nbytes)
    yield Call(
        "matmul_int8, 256 × 256 × 256", "matmul_int8", lambda: kernels.matmul_int8(whole_a, whole_b), 6 * whole_a.nbytes
    )
    yield Call(
        "flash_attention, 8 heads on 2 × 2048 × 64",
        "flash_attention",
        lambda: kernels.flash_attention(q, k, v),
        8 * k.nbytes,
    )


def weights(rng: np.random.Generator) -> Iterator[Call]:
    """Blocks, and a vector times rows of them."""
    x, vector = floats(rng, 512, 2048), floats(rng, 2048)
    q8, q4 = kernels.quantize_q8_0(x), kernels.quantize_q4_0(x)
    size = "512 × 2048"
    yield Call(f"quantize_q8_0, {size}", "quantize_q8_0", lambda: kernels.quantize_q8_0(x), x.nbytes + q8.nbytes)
    yield Call(f"quantize_q4_0, {size}", "quantize_q4_0", lambda: kernels.quantize_q4_0(x), x.nbytes + q4.nbytes)
    yield Call(
        f"dequantize_q8_0, {size}", "dequantize_q8_0", lambda: kernels.dequantize_q8_0(q8, 2048), x.nbytes + q8.nbytes
    )
    yield Call(
        f"dequantize_q4_0, {size}", "dequantize_q4_0", lambda: kernels.dequantize_q4_0(q4, 2048), x.nbytes + q4.nbytes
    )
    yield Call(f"matvec_q8_0, {size}", "matvec_q8_0", lambda: kernels.matvec_q8_0(q8, vector), q8.nbytes)
    yield Call(f"matvec_q4_0, {size}", "matvec_q4_0", lambda: kernels.matvec_q4_0(q4, vector), q4.nbytes)
