from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import kernels
from kernels import levels
from tests.kernels.library import EMULATED, library

ROOT = Path(__file__).resolve().parents[2]
ASIMD, ASIMDDP, I8MM = 1 << 1, 1 << 20, 1 << 13
FMA, OSXSAVE, AVX, F16C, AVX2 = 1 << 12, 1 << 27, 1 << 28, 1 << 29, 1 << 5
AVX512, VNNI = 1 << 16 | 1 << 30 | 1 << 31, 1 << 11
native = pytest.mark.skipif(library() is None, reason="no compiler")


def handle() -> ctypes.CDLL:
    return ctypes.CDLL(str(library()))


def names(bits: int) -> list[str]:
    return [name for number, name in enumerate(levels.NATIVE) if bits >> number & 1]


@native
@pytest.mark.parametrize(
    ("hwcap", "hwcap2", "expected"),
    [
        (0, 0, ["scalar"]),
        (ASIMD, 0, ["scalar", "neon"]),
        (ASIMD | 1, 0, ["scalar", "neon"]),
        (ASIMD | ASIMDDP, 0, ["scalar", "neon", "dotprod"]),
        (ASIMD | ASIMDDP, I8MM, ["scalar", "neon", "dotprod", "i8mm"]),
        (ASIMD, I8MM, ["scalar", "neon"]),
        (ASIMDDP, I8MM, ["scalar"]),
        (~(ASIMD | ASIMDDP) & 2**64 - 1, ~I8MM & 2**64 - 1, ["scalar"]),
        (2**64 - 1, ~I8MM & 2**64 - 1, ["scalar", "neon", "dotprod"]),
    ],
)
def test_the_words_of_an_arm_system(hwcap: int, hwcap2: int, expected: list[str]) -> None:
    found = handle().jk_levels_of_hwcaps(ctypes.c_uint64(hwcap), ctypes.c_uint64(hwcap2))
    assert names(found) == expected


@native
@pytest.mark.parametrize(
    ("leaf1", "leaf7", "more7", "saved", "expected"),
    [
        (FMA | OSXSAVE | AVX | F16C, AVX2, 0, 6, ["scalar", "avx2"]),
        (OSXSAVE | AVX | F16C, AVX2, 0, 6, ["scalar"]),
        (FMA | OSXSAVE | AVX, AVX2, 0, 6, ["scalar"]),
        (FMA | OSXSAVE | AVX | F16C, 0, 0, 6, ["scalar"]),
        (FMA | OSXSAVE | AVX | F16C, AVX2, 0, 2, ["scalar"]),
        (FMA | AVX | F16C, AVX2, 0, 6, ["scalar"]),
        (FMA | OSXSAVE | AVX | F16C, AVX2 | AVX512, VNNI, 0xE7, ["scalar", "avx2", "vnni"]),
        (FMA | OSXSAVE | AVX | F16C, AVX2 | AVX512, VNNI, 7, ["scalar", "avx2"]),
        (FMA | OSXSAVE | AVX | F16C, AVX2 | AVX512, 0, 0xE7, ["scalar", "avx2"]),
        (FMA | OSXSAVE | AVX | F16C, AVX2 | 1 << 16, VNNI, 0xE7, ["scalar", "avx2"]),
        (FMA | OSXSAVE | AVX | F16C, AVX512, VNNI, 0xE7, ["scalar"]),
        (0, 0, 0, 0, ["scalar"]),
    ],
)
def test_what_an_x86_processor_says(leaf1: int, leaf7: int, more7: int, saved: int, expected: list[str]) -> None:
    found = handle().jk_levels_of_cpuid(leaf1, leaf7, more7, ctypes.c_uint64(saved))
    assert names(found) == expected


@pytest.mark.usefixtures("unchosen")
def test_numpy_is_always_there() -> None:
    assert kernels.select("numpy").level == "numpy"
    assert levels.functions() is None
    assert kernels.active()["matmul"] == {"level": "numpy", "reason": "it was asked for"}


@native
@pytest.mark.usefixtures("unchosen")
def test_auto_is_the_highest() -> None:
    assert levels.select("auto", library()).level == kernels.available(library())[-1]
    assert kernels.active()["matmul_int8"]["reason"] == "the highest that this processor has"


@native
def test_every_function_tells_its_level(level: str) -> None:
    active = kernels.active()
    assert set(active) == set(levels.PUBLIC)
    assert {of["level"] for of in active.values()} <= set(levels.LEVELS[: levels.LEVELS.index(level) + 1])
    assert active["matmul_int8"]["level"] == level
    if level not in ("numpy", "scalar"):
        assert active["text_features"] == {
            "level": "scalar",
            "reason": f"it has no version for {level}; {level}: it was asked for",
        }


@native
def test_a_level_of_another_processor_is_refused_by_name() -> None:
    absent = next(name for name in levels.LEVELS if name not in kernels.available(library()))
    there = ", ".join(kernels.available(library()))
    with pytest.raises(kernels.UnavailableLevelError, match=f"no level '{absent}' here; there are auto, {there}$"):
        levels.select(absent, library())


def test_a_level_that_nobody_has_is_refused() -> None:
    with pytest.raises(kernels.UnavailableLevelError, match="no level 'sse9' here; there are auto, numpy"):
        levels.select("sse9")


@pytest.fixture
def note(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    request.getfixturevalue("unchosen")
    path = tmp_path / ".kernels"
    monkeypatch.setattr(levels, "BUILD_NOTE", path)
    return path


def reason_for_numpy() -> str:
    assert levels.select().level == "numpy"
    return kernels.active()["softmax"]["reason"]


@pytest.mark.usefixtures("note")
def test_without_a_build_numpy_does_the_work() -> None:
    assert reason_for_numpy() == "no library was compiled: ./run.sh does it"


def test_a_failed_build_says_why(note: Path) -> None:
    note.write_text("the compiler failed\n")
    assert reason_for_numpy() == "the compiler failed"
    with pytest.raises(kernels.UnavailableLevelError, match=r"auto, numpy \(the compiler failed\)$"):
        levels.select("neon")


def test_a_library_that_is_gone_or_of_another_architecture_is_not_loaded(note: Path, tmp_path: Path) -> None:
    note.write_text(str(tmp_path / "gone.so"))
    assert reason_for_numpy().startswith("the library cannot be loaded: ")
    foreign = tmp_path / "foreign.so"
    foreign.write_bytes(b"\x7fELF" + bytes(200))
    note.write_text(str(foreign))
    assert reason_for_numpy().startswith("the library cannot be loaded: ")


@native
def test_a_library_of_other_sources_is_not_used(note: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = shutil.copy(str(library()), tmp_path / "other.so")
    note.write_text(str(copy))
    monkeypatch.setattr(levels, "hash_of_sources", lambda: "0" * 24)
    assert reason_for_numpy() == "the library was compiled from other sources: ./run.sh does it anew"


@native
def test_the_noted_library_is_used(note: Path) -> None:
    note.write_text(f"{library()}\n")
    assert levels.select().level == kernels.available(library())[-1]


@pytest.mark.skipif(EMULATED, reason="a child of an emulated Python is not emulated")
def test_asking_for_the_level_loads_no_numpy() -> None:
    code = "import sys, kernels; kernels.active(); print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_what_the_package_offers_is_there() -> None:
    for name in kernels.__all__:
        assert callable(getattr(kernels, name))
    with pytest.raises(AttributeError, match="'kernels' has no attribute 'conv2d'"):
        _ = kernels.conv2d
