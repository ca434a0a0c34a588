from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import kernels
from tests.kernels.library import EMULATED
from tests.kernels.oracle import floats, near

quants = pytest.importorskip("gguf.quants")
from gguf import GGMLQuantizationType  # noqa: E402

pytestmark = pytest.mark.usefixtures("level")

KINDS = {
    GGMLQuantizationType.Q8_0: (kernels.quantize_q8_0, kernels.dequantize_q8_0, kernels.matvec_q8_0),
    GGMLQuantizationType.Q4_0: (kernels.quantize_q4_0, kernels.dequantize_q4_0, kernels.matvec_q4_0),
}
each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


def same_bytes(x: np.ndarray, kind: GGMLQuantizationType) -> None:
    with np.errstate(all="ignore"):
        expected = quants.quantize(x, kind)
    np.testing.assert_array_equal(KINDS[kind][0](x), expected)


@each_kind
@pytest.mark.parametrize("n", [32, 64, 96, 1024])
def test_blocks_are_those_of_the_gguf_package(rng: np.random.Generator, kind: GGMLQuantizationType, n: int) -> None:
    same_bytes(floats(rng, 7, n), kind)


@each_kind
@pytest.mark.parametrize("scale", [1e-8, 1e-6, 1e-4, 1.0, 1e4, 7e6, 1e30])
def test_also_where_the_scale_is_denormal_or_infinite(
    rng: np.random.Generator, kind: GGMLQuantizationType, scale: float
) -> None:
    same_bytes(np.float32(scale) * floats(rng, 4, 32), kind)


@each_kind
@given(st.lists(st.floats(-1e5, 1e5, width=32, allow_subnormal=False), min_size=32, max_size=32))
def test_blocks_of_any_numbers(kind: GGMLQuantizationType, x: list[float]) -> None:
    block = np.array([x], np.float32)
    block[np.abs(block) < 1e-30] = 0  # 1 / scale would be infinite, and the package's bytes an accident
    same_bytes(block, kind)


@pytest.mark.skipif(EMULATED, reason="llama.cpp is not there")
@each_kind
def test_blocks_are_those_of_ggml_itself(rng: np.random.Generator, kind: GGMLQuantizationType) -> None:
    llama_cpp = pytest.importorskip("llama_cpp")
    found = sorted((Path(llama_cpp.__file__).parent / "lib").glob("libggml-base.*"))
    if not found:
        pytest.skip("the library of ggml lies elsewhere")
    x = floats(rng, 50, 256)
    blocks = KINDS[kind][0](x)
    written = np.zeros_like(blocks)
    sizes = map(ctypes.c_int64, (0, *x.shape))
    ctypes.CDLL(str(found[0])).ggml_quantize_chunk(
        int(kind), ctypes.c_void_p(x.ctypes.data), ctypes.c_void_p(written.ctypes.data), *sizes, None
    )
    np.testing.assert_array_equal(blocks, written)


@each_kind
def test_halves_and_equal_magnitudes(kind: GGMLQuantizationType) -> None:
    x = np.zeros((3, 32), np.float32)
    x[0, :8] = [127, 0.5, -0.5, 1.5, -1.5, 126.5, -126.5, -127]
    x[1, :4] = [-8, 8, 7.5, -7.5]
    x[2, :2] = [8, -8]
    same_bytes(x, kind)


@each_kind
def test_a_block_of_zeros(kind: GGMLQuantizationType) -> None:
    same_bytes(np.zeros((1, 64), np.float32), kind)


@each_kind
@pytest.mark.parametrize("n", [32, 64, 1024])
def test_back_to_floats(rng: np.random.Generator, kind: GGMLQuantizationType, n: int) -> None:
    blocks = KINDS[kind][0](floats(rng, 3, n))
    np.testing.assert_array_equal(KINDS[kind][1](blocks, n), quants.dequantize(blocks, kind))


@each_kind
@pytest.mark.parametrize("n", [32, 64, 96, 160, 4096])
def test_a_matrix_times_a_vector(rng: np.random.Generator, kind: GGMLQuantizationType, n: int) -> None:
    quantize, dequantize, matvec = KINDS[kind]
    blocks, x = quantize(floats(rng, 5, n)), floats(rng, n)
    weights = dequantize(blocks, n).astype(np.float64)
    rounded = kernels.dequantize_q8_0(kernels.quantize_q8_0(x[None]), n)[0]
    near(matvec(blocks, x), weights @ rounded, scale=np.abs(weights) @ np.abs(rounded))


@each_kind
def test_it_stays_near_the_product_with_the_vector_itself(rng: np.random.Generator, kind: GGMLQuantizationType) -> None:
    quantize, dequantize, matvec = KINDS[kind]
    blocks, x = quantize(floats(rng, 9, 256)), floats(rng, 256)
    weights = dequantize(blocks, 256).astype(np.float64)
    lost = np.abs(x).reshape(-1, 32).max(axis=1).repeat(32) / 254 * 1.01
    assert (np.abs(matvec(blocks, x) - weights @ x) <= np.abs(weights) @ lost).all()


def test_the_largest_bytes_are_multiplied_exactly() -> None:
    """Blocks from elsewhere may hold -128, which the quantiser never writes."""
    one = np.float16(1).tobytes()
    q8 = np.frombuffer(one + b"\x80" * 32, np.uint8)
    assert kernels.dot_q8_0(q8, q8) == 32 * 128 * 128
    lowest, highest = (np.frombuffer(one + byte * 16, np.uint8) for byte in (b"\x00", b"\xff"))
    assert kernels.dot_q4_0_q8_0(lowest, q8) == 32 * 8 * 128
    assert kernels.dot_q4_0_q8_0(highest, q8) == -32 * 7 * 128


def test_each_nibble_meets_its_own_number() -> None:
    one = np.float16(1).tobytes()
    for place in range(32):
        x = np.zeros(32, np.int8)
        x[place] = 1
        packed = np.arange(16, dtype=np.uint8) | np.arange(15, -1, -1, dtype=np.uint8) << 4
        expected = (place if place < 16 else 31 - place) - 8
        q4 = np.frombuffer(one + packed.tobytes(), np.uint8)
        assert kernels.dot_q4_0_q8_0(q4, np.frombuffer(one + x.tobytes(), np.uint8)) == expected


@pytest.mark.parametrize("scale", [0.0, -0.0, 6e-8, -6e-8, 6.1e-5, 1.5, -65504.0, np.inf])
def test_every_kind_of_half_precision_scale(scale: float) -> None:
    half = np.array([scale], np.float16)
    block = np.concatenate([half.view(np.uint8), np.full(32, 3, np.uint8)])[None]
    expected = np.full((1, 32), half.astype(np.float32)[0] * np.float32(3))
    np.testing.assert_array_equal(kernels.dequantize_q8_0(block, 32), expected)


@each_kind
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("at", [0, 63, 95])
def test_what_blocks_cannot_hold_is_refused(kind: GGMLQuantizationType, bad: float, at: int) -> None:
    x = np.ones((1, 96), np.float32)
    x[0, at] = bad
    with pytest.raises(ValueError, match="x has a value that is NaN or infinite"):
        KINDS[kind][0](x)


def test_the_quantizer_does_the_same(rng: np.random.Generator) -> None:
    weights, quantizer = floats(rng, 4, 64), kernels.get_quantizer()
    q8, q4 = quantizer.quantize_q8(weights), quantizer.quantize_q4(weights)
    np.testing.assert_array_equal(q8, kernels.quantize_q8_0(weights))
    np.testing.assert_array_equal(q4, kernels.quantize_q4_0(weights))
    assert np.abs(quantizer.dequantize_q8(q8, 64) - weights).max() < np.abs(weights).max() / 200
    assert np.abs(quantizer.dequantize_q4(q4, 64) - weights).max() < np.abs(weights).max() / 7
