"""The change to llama.cpp's attention: that it is made, and that it makes no difference but time."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from backends.llama_cpp.native.sources import (
    CELLS,
    CELLS_LISTED,
    CHANGES,
    FILE,
    INCLUDES,
    ROWS,
    ROWS_IN_TURN,
    UnknownSourcesError,
    changed,
    unpack,
)
from tests.sdist import sdist

FILE_TEXT = f"{INCLUDES}\n{ROWS}\n{CELLS}"


def archive(folder: Path, text: str = FILE_TEXT, name: str = str(FILE)) -> Path:
    sources = folder / "made" / "package-1.0"
    (sources / name).parent.mkdir(parents=True)
    (sources / name).write_text(text)
    with tarfile.open(folder / "package-1.0.tar.gz", "w:gz") as tar:
        tar.add(sources, "package-1.0")
    return folder


def test_the_sources_of_the_version_in_use_are_changed_once() -> None:
    text = (sdist() / FILE).read_text()
    found = changed(text)
    assert all(found.count(after) == 1 for _, after in CHANGES)
    for before, after in CHANGES:
        found = found.replace(after, before)
    assert found == text


def test_the_archive_is_unpacked_beside_itself(tmp_path: Path) -> None:
    sources = unpack(archive(tmp_path))
    assert sources == tmp_path / "package-1.0"
    assert (sources / FILE).read_text() == changed(FILE_TEXT)


@pytest.mark.parametrize("text", ["", FILE_TEXT + FILE_TEXT, FILE_TEXT.replace(CELLS, ""), changed(FILE_TEXT)])
def test_other_sources_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(UnknownSourcesError, match="not once"):
        unpack(archive(tmp_path, text))


def test_an_archive_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownSourcesError, match="package-1.0.tar.gz has no vendor"):
        unpack(archive(tmp_path, name="README"))
    with pytest.raises(UnknownSourcesError, match="has 0 archives"):
        unpack(tmp_path / "made")


@pytest.mark.parametrize("kept", [0, 5, 60, 150])
def test_an_archive_that_is_damaged_is_named(tmp_path: Path, kept: int) -> None:
    path = archive(tmp_path) / "package-1.0.tar.gz"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UnknownSourcesError, match="package-1.0.tar.gz cannot be read"):
        unpack(tmp_path)


def test_run_by_itself_it_prints_the_folder_or_the_reason(tmp_path: Path) -> None:
    script = Path(sys.modules[unpack.__module__].__file__ or "")
    good = subprocess.run([sys.executable, "-I", script, archive(tmp_path)], capture_output=True, text=True, check=True)
    assert good.stdout == f"{tmp_path / 'package-1.0'}\n"
    bad = subprocess.run([sys.executable, "-I", script, tmp_path / "made"], capture_output=True, text=True, check=False)
    assert (bad.returncode, bad.stderr) == (1, f"error: {tmp_path / 'made'} has 0 archives, not one\n")


PROGRAM = """\
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#define CACHE_LINE_SIZE 64
#define GGML_CPU_FP16_TO_FP32(x) ((x) == 0xFC00 ? -INFINITY : float(x))
typedef uint16_t ggml_fp16_t;
struct tensor { void * data; size_t nb[4]; int64_t ne[4]; int type; };
static size_t ggml_row_size(int, int64_t count) { return count; }
int main(int count, char ** arguments) {
    const int64_t ic_start = atoi(arguments[1]), ic_end = strlen(arguments[3]), neq1 = count - 3, neq2 = 3;
    const int ir0 = 0, ir1 = neq1*neq2;
    const size_t nbk1 = 1, nbk2 = 1, nbk3 = 1, nbv1 = 1, nbv2 = 1, nbv3 = 1;
    const int64_t DK = 4, DV = 4, ik2 = 0, ik3 = 0, iv2 = 0, iv3 = 0;
    const float slope = 1.0f;
    std::vector<ggml_fp16_t> masks(neq1*ic_end + 1);
    for (int64_t i = 0; i < neq1*ic_end; ++i) {
        masks[i] = arguments[3 + i/ic_end][i%ic_end] == 'x' ? 0xFC00 : 0;
    }
    const tensor of_rows = {masks.data(), {2, size_t(2*ic_end), 0, 0}, {ic_end, neq1, 1, 1}, 0};
    const tensor cells_of_k = {masks.data(), {}, {}, 0}, * k = &cells_of_k, * v = k;
    const tensor * mask = atoi(arguments[2]) ? &of_rows : nullptr;
ROWS        const ggml_fp16_t * mp = mask ? masks.data() + iq1*ic_end : nullptr;
        printf("%d.%d:", iq1, iq2);
CELLS            if (mv == -INFINITY) continue;
            printf(" %d", int(ic));
        }
        printf(",");
    }
}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("loop")
    places = {INCLUDES.strip(): changed(FILE_TEXT).split("\n\n")[0], "ROWS": ROWS_IN_TURN, "CELLS": CELLS_LISTED}
    text = PROGRAM
    for place, after in places.items():
        text = text.replace(place, after)
    (folder / "loop.cpp").write_text(text)
    subprocess.run(["c++", "-O2", "-Wall", "-Werror", "-o", folder / "loop", folder / "loop.cpp"], check=True)
    return folder / "loop"


def seen(program: Path, *masks: str, begin: int = 0, masked: bool = True) -> list[tuple[str, list[int]]]:
    """Token and head of each row, in their order, with the cells that the loop computes with."""
    command = [str(program), str(begin), str(int(masked)), *masks]
    rows = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split(",")[:-1]
    named = [row.split(":") for row in rows]
    return [(name, [int(cell) for cell in cells.split()]) for name, cells in named]


def unmasked(mask: str, begin: int = 0) -> list[int]:
    return [place for place, cell in enumerate(mask) if cell != "x" and place >= begin]


@pytest.mark.parametrize("begin", [0, 1, 3])
@pytest.mark.parametrize(
    "mask",
    ["", "x", "xxx", "xxxx", "xxxxx", "-", "xxxx-", "-xxxx", "xxx-xxxx-xxxxxxxx-", "xx-xx-xxx-xxxx-xxxxx-", "-" * 9,
     "x" * 31, "x" * 30 + "-", "-xxxxxxx-xxxx-x-"],
)  # fmt: skip
def test_exactly_the_cells_that_are_not_masked_are_seen(program: Path, mask: str, begin: int) -> None:
    expected = unmasked(mask, begin)
    assert seen(program, mask, begin=begin) == [(f"0.{head}", expected) for head in range(3)]


def test_without_a_mask_every_cell_is_seen(program: Path) -> None:
    assert seen(program, "xxxxxx", masked=False) == [(f"0.{head}", [*range(6)]) for head in range(3)]


def test_tokens_that_see_the_same_cells_come_head_by_head(program: Path) -> None:
    masks = ("------x", "-------")
    assert seen(program, *masks) == [
        (f"{token}.{head}", unmasked(masks[token])) for head in range(3) for token in range(2)
    ]


@pytest.mark.parametrize(
    "masks",
    [("----xxxx", "xxxx----"), ("-" * 9 + "x" * 40, "x" * 9 + "-" * 40), ("-x-x-x-x", "x-x-x-x-"),
     ("---xxx---xxx", "xxx---xxxxxx", "-xxxxx---xx-", "x" * 12, "xxx---xxxx--"), ("---xx", "x" * 5)],
)  # fmt: skip
def test_tokens_that_see_cells_of_their_own_come_with_all_their_heads(program: Path, masks: tuple[str, ...]) -> None:
    assert seen(program, *masks) == [
        (f"{token}.{head}", unmasked(mask)) for token, mask in enumerate(masks) for head in range(3)
    ]
