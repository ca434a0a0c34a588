"""Bad input: every argument of every function is refused by its name, before native code sees an address."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import kernels

pytestmark = pytest.mark.usefixtures("level")

GOOD: dict[str, dict[str, Any]] = {
    "matmul": {"a": np.ones((3, 4), np.float32), "b": np.ones((4, 5), np.float32)},
    "matmul_int8": {"a": np.ones((3, 4), np.int8), "b": np.ones((4, 5), np.int8)},
    "softmax": {"x": np.ones((3, 4), np.float32)},
    "rmsnorm": {"x": np.ones((3, 4), np.float32), "weight": np.ones(4, np.float32)},
    "swiglu": {"gate": np.ones((3, 4), np.float32), "up": np.ones((3, 4), np.float32)},
    "gelu": {"x": np.ones((3, 4), np.float32)},
    "rope": {
        "x": np.ones((3, 2, 4), np.float32),
        "cos": np.ones((3, 2), np.float32),
        "sin": np.ones((3, 2), np.float32),
    },
    "flash_attention": {
        "q": np.ones((4, 2, 3), np.float32),
        "k": np.ones((2, 5, 3), np.float32),
        "v": np.ones((2, 5, 3), np.float32),
    },
    "quantize_q8_0": {"x": np.ones((2, 64), np.float32)},
    "quantize_q4_0": {"x": np.ones((2, 64), np.float32)},
    "dequantize_q8_0": {"blocks": np.ones((2, 68), np.uint8), "n": 64},
    "dequantize_q4_0": {"blocks": np.ones((2, 36), np.uint8), "n": 64},
    "matvec_q8_0": {"blocks": np.ones((2, 68), np.uint8), "x": np.ones(64, np.float32)},
    "matvec_q4_0": {"blocks": np.ones((2, 36), np.uint8), "x": np.ones(64, np.float32)},
    "dot_q8_0": {"a": np.ones(68, np.uint8), "b": np.ones(68, np.uint8)},
    "dot_q4_0_q8_0": {"a": np.ones(36, np.uint8), "b": np.ones(68, np.uint8)},
    "similarity_topk": {"rows": np.ones((5, 4), np.int8), "query": np.ones(4, np.int8), "k": 2},
    "gather_accumulate": {"table": np.ones((5, 4), np.int8), "ids": np.array([1, 2])},
    "apply_token_mask": {"logits": np.ones(40, np.float32), "mask": np.ones(2, np.uint32)},
    "logsumexp_topk": {"logits": np.ones(40, np.float32), "k": 2},
}
WITHOUT_OUT = ("dot_q8_0", "dot_q4_0_q8_0")
ARRAYS = [(name, key) for name, given in GOOD.items() for key, value in given.items() if isinstance(value, np.ndarray)]


def call(function: str, **changed: Any) -> Any:
    return getattr(kernels, function)(**{key: _copy(value) for key, value in (GOOD[function] | changed).items()})


def _copy(value: Any) -> Any:
    """A fresh array where the test has not made one of a special kind."""
    plain = isinstance(value, np.ndarray) and value.flags.c_contiguous and value.flags.writeable
    return value.copy() if plain and value.flags.aligned else value


def misaligned(x: np.ndarray) -> np.ndarray:
    moved = np.zeros(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)
    moved[...] = x
    return moved


BAD: dict[str, Callable[[np.ndarray], Any]] = {
    "a list": lambda x: x.tolist(),
    "nothing": lambda _: None,
    "another dtype": lambda x: x.astype(np.float64 if x.dtype != np.int64 else np.float32),
    "the other byte order": lambda x: x.astype(x.dtype.newbyteorder()) if x.dtype.itemsize > 1 else x.astype("<f8"),
    "one dimension more": lambda x: x[None, :, None] if x.ndim == 3 else x[None],
    "no dimension": lambda x: x.reshape(-1)[0].reshape(()),
    "empty": lambda x: x[:0],
    "every second one": lambda x: np.repeat(x, 2, axis=-1)[..., ::2],
    "in Fortran's order": lambda x: np.asfortranarray(np.concatenate([x, x]))[: len(x)],
}


@pytest.mark.parametrize("function", GOOD)
def test_the_good_arguments_are_good(function: str) -> None:
    call(function)


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize(("function", "name"), ARRAYS)
def test_an_array_of_the_wrong_kind_is_refused_by_its_name(function: str, name: str, kind: str) -> None:
    bad = BAD[kind](GOOD[function][name])
    if acceptable(function, name, kind, bad):
        pytest.skip("this is no mistake here")
    with pytest.raises(ValueError, match="^up " if either(name, kind) else f"^{name} "):
        call(function, **{name: bad})


def acceptable(function: str, name: str, kind: str, bad: Any) -> bool:
    """Some arguments take any number of dimensions, several dtypes, or nothing."""
    if kind in ("every second one", "in Fortran's order"):
        return bool(bad.flags.c_contiguous)  # a single row, for instance
    return (function, name, kind) in {
        ("softmax", "x", "one dimension more"),
        ("gelu", "x", "one dimension more"),
        ("rmsnorm", "x", "one dimension more"),
        ("rmsnorm", "weight", "nothing"),
        ("gather_accumulate", "ids", "the other byte order"),
    }


def either(name: str, kind: str) -> bool:
    """Whether it may be the other one of two arguments that is named: one decides what the other must be."""
    return (name, kind) == ("gate", "one dimension more")


@pytest.mark.parametrize(("function", "name"), ARRAYS)
def test_an_array_between_addresses_is_refused(function: str, name: str) -> None:
    good = GOOD[function][name]
    if good.dtype.itemsize == 1:
        pytest.skip("bytes have no alignment")
    with pytest.raises(ValueError, match=f"^{name} must be C-contiguous and aligned"):
        call(function, **{name: misaligned(good)})


def outputs_of(function: str) -> Any:
    result = call(function)
    return result[-2:] if isinstance(result, tuple) else result


@pytest.mark.parametrize("kind", ["read-only", "too long", "another dtype", "strided", "a list"])
@pytest.mark.parametrize("function", [name for name in GOOD if name not in WITHOUT_OUT])
def test_an_output_that_cannot_be_written_to_is_refused(function: str, kind: str) -> None:
    def spoilt(good: np.ndarray) -> Any:
        if kind == "read-only":
            good.flags.writeable = False
        made: dict[str, Callable[[], Any]] = {
            "read-only": lambda: good,
            "too long": lambda: np.concatenate([good, good]),
            "another dtype": lambda: good.astype(np.complex64),
            "strided": lambda: np.repeat(good, 2, axis=-1)[..., ::2],
            "a list": lambda: good.tolist(),
        }
        return made[kind]()

    good = outputs_of(function)
    bad = (good[0], spoilt(good[1])) if isinstance(good, tuple) else spoilt(good)
    with pytest.raises(ValueError, match=r"^out(\[1\])? "):
        call(function, out=bad)


@pytest.mark.parametrize("function", ["similarity_topk", "logsumexp_topk"])
@pytest.mark.parametrize("out", [np.empty(2), (np.empty(2, np.int64),)])
def test_two_outputs_are_a_pair(function: str, out: Any) -> None:
    with pytest.raises(ValueError, match="^out must be a pair"):
        call(function, out=out)


@pytest.mark.parametrize("function", ["softmax", "gelu", "rmsnorm", "rope", "swiglu"])
def test_an_output_may_be_the_input_but_not_overlap_it(function: str) -> None:
    name, good = next(iter(GOOD[function].items()))
    room = np.ones(good.size + 1, np.float32)
    given = GOOD[function] | {name: room[:-1].reshape(good.shape)}
    with pytest.raises(ValueError, match="^out shares"):
        getattr(kernels, function)(**given, out=room[1:].reshape(good.shape))


@pytest.mark.parametrize("name", ["q", "k"])
def test_attention_does_not_write_over_its_inputs(name: str) -> None:
    x = np.ones((2, 3, 4), np.float32)
    given: dict[str, Any] = {key: x if key == name else x.copy() for key in ("q", "k", "v")}
    with pytest.raises(ValueError, match="^out shares memory"):
        kernels.flash_attention(**given, out=x)


def test_a_product_does_not_write_over_its_factors() -> None:
    a = np.ones((4, 4), np.float32)
    with pytest.raises(ValueError, match="^out shares memory"):
        kernels.matmul(a, a.copy(), out=a)


@pytest.mark.parametrize("k", [0, -1, 1.0, "2", None, True])
@pytest.mark.parametrize("function", ["similarity_topk", "logsumexp_topk"])
def test_k_is_a_whole_number_above_zero(function: str, k: Any) -> None:
    with pytest.raises(ValueError, match="^k must be a whole number of at least 1"):
        call(function, k=k)


@pytest.mark.parametrize(
    ("function", "changed", "message"),
    [
        ("matmul", {"b": np.ones((5, 4), np.float32)}, "^b must have 4 rows"),
        ("matmul_int8", {"b": np.ones((5, 4), np.int8)}, "^b must have 4 rows"),
        ("rmsnorm", {"weight": np.ones(3, np.float32)}, "^weight must"),
        ("swiglu", {"up": np.ones((4, 3), np.float32)}, "^up must"),
        ("rope", {"cos": np.ones((3, 4), np.float32)}, "^cos must"),
        ("rope", {"sin": np.ones((2, 2), np.float32)}, "^sin must"),
        ("flash_attention", {"v": np.ones((2, 4, 3), np.float32)}, "^v must"),
        ("flash_attention", {"q": np.ones((4, 2, 4), np.float32)}, "^k must have 4 columns"),
        ("matvec_q8_0", {"x": np.ones(32, np.float32)}, "^x has 32 numbers"),
        ("matvec_q4_0", {"x": np.ones(65, np.float32)}, "^x has 65 numbers"),
        ("dot_q8_0", {"b": np.ones(34, np.uint8)}, "^b must"),
        ("dot_q4_0_q8_0", {"b": np.ones(36, np.uint8)}, "^b must"),
        ("similarity_topk", {"query": np.ones(5, np.int8)}, "^query must"),
        ("rmsnorm", {"eps": -1.0}, "^eps must"),
        ("rmsnorm", {"eps": np.nan}, "^eps must"),
        ("rmsnorm", {"residual": np.ones(4, np.float32)}, "^residual must"),
        ("rope", {"x": np.ones((3, 2, 5), np.float32)}, "^x must have an even number"),
        ("flash_attention", {"q": np.ones((3, 2, 3), np.float32)}, "^q has 3 heads"),
        ("flash_attention", {"q": np.ones((4, 6, 3), np.float32)}, "^q has 6 positions"),
        ("flash_attention", {"scale": np.inf}, "^scale must"),
        ("quantize_q8_0", {"x": np.ones((2, 33), np.float32)}, "^x must have a multiple of 32"),
        ("quantize_q4_0", {"x": np.ones((2, 33), np.float32)}, "^x must have a multiple of 32"),
        ("dequantize_q8_0", {"n": 32}, "^blocks has 68 bytes"),
        ("dequantize_q8_0", {"n": 0}, "^n must"),
        ("dequantize_q4_0", {"n": 63}, "^blocks has 36 bytes"),
        ("dot_q8_0", {"a": np.ones(67, np.uint8)}, "^a has 67 bytes"),
        ("matmul_int8", {"a_scale": np.ones(5, np.float32)}, "^a_scale must"),
        ("matmul_int8", {"b_scale": np.ones(3, np.float32)}, "^b_scale must"),
        (
            "matmul_int8",
            {"a": np.ones((1, 2**17), np.int8), "b": np.ones((2**17, 1), np.int8)},
            "^a has 131072 columns",
        ),
        (
            "similarity_topk",
            {"rows": np.ones((1, 2**17), np.int8), "query": np.ones(2**17, np.int8)},
            "^rows has 131072",
        ),
        ("similarity_topk", {"norms": np.ones(4, np.float32)}, "^norms must"),
        ("similarity_topk", {"rescore": np.ones(4)}, "^rescore must"),
        ("similarity_topk", {"rescore": (np.ones((4, 2), np.float32), np.ones(2, np.float32))}, r"^rescore\[0\] must"),
        ("similarity_topk", {"rescore": (np.ones((5, 2), np.float32), np.ones(3, np.float32))}, r"^rescore\[1\] must"),
        ("gather_accumulate", {"ids": np.array([1.0])}, "^ids must"),
        ("gather_accumulate", {"ids": np.array([1], np.uint64)}, "^ids must"),
        ("gather_accumulate", {"weights": np.ones(3, np.float32)}, "^weights must"),
        ("gather_accumulate", {"weights": np.ones(2)}, "^weights must"),
        ("gather_accumulate", {"weights": np.full(2, 2**23, np.int32)}, "^weights are so large"),
        ("gather_accumulate", {"ids": np.zeros(2**24, np.int64)}, "^ids has 16777216 entries"),
        ("apply_token_mask", {"mask": np.ones(1, np.uint32)}, "^mask has 1 words"),
    ],
)
def test_arguments_that_do_not_fit_each_other(function: str, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(function, **changed)


@pytest.mark.parametrize("chunk", ["text", None, bytearray(b"x"), np.zeros(3, np.uint8)])
def test_text_is_bytes(chunk: Any) -> None:
    with pytest.raises(ValueError, match="^chunk must be bytes"):
        kernels.text_features(chunk, kernels.TextState())


def test_a_text_has_a_state() -> None:
    with pytest.raises(ValueError, match="^state must be a TextState"):
        kernels.text_features(b"x", np.zeros(70, np.uint32))  # type: ignore[arg-type]


@pytest.mark.parametrize("buckets", [0, -5, 2**31 + 1, 2.5])
def test_buckets_are_a_sensible_number(buckets: Any) -> None:
    with pytest.raises(ValueError, match="^buckets must"):
        kernels.TextState(buckets)


@pytest.mark.parametrize(
    ("n", "d", "base", "name"), [(0, 4, 1.0, "n"), (4, 5, 1.0, "d"), (4, 0, 1.0, "d"), (4, 4, 0, "base")]
)
def test_tables_of_angles(n: int, d: int, base: float, name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} must"):
        kernels.rope_tables(n, d, base)


def test_a_bound_output_must_fit() -> None:
    table = np.ones((5, 4), np.int8)
    for out in (None, np.empty(5, np.int32), np.empty(4, np.float32), np.broadcast_to(np.int32(0), 4)):
        with pytest.raises(ValueError, match="^out "):
            kernels.bind(table, out)  # type: ignore[arg-type]
