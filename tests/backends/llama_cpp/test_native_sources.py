"""The change to llama.cpp's attention: that it is made, and that it makes no difference but time."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from backends.llama_cpp.native.sources import BEFORE, FILE, SKIPPING, UnknownSourcesError, changed, unpack
from tests.sdist import sdist

LOOP = f"for (int64_t ic = begin; ic < ic_end; ++ic) {{\n{BEFORE}}}\n"


def archive(folder: Path, text: str = LOOP, name: str = str(FILE)) -> Path:
    sources = folder / "made" / "package-1.0"
    (sources / name).parent.mkdir(parents=True)
    (sources / name).write_text(text)
    with tarfile.open(folder / "package-1.0.tar.gz", "w:gz") as tar:
        tar.add(sources, "package-1.0")
    return folder


def test_the_sources_of_the_version_in_use_are_changed_once() -> None:
    text = (sdist() / FILE).read_text()
    assert changed(text).replace(SKIPPING, "") == text
    loop = "for (int64_t ic = ic_start; ic < ic_end; ++ic) {\n"
    assert loop + SKIPPING + BEFORE in changed(text)


def test_the_archive_is_unpacked_beside_itself(tmp_path: Path) -> None:
    sources = unpack(archive(tmp_path))
    assert sources == tmp_path / "package-1.0"
    assert (sources / FILE).read_text() == changed(LOOP)


@pytest.mark.parametrize("text", ["", LOOP + LOOP, changed(LOOP).replace(BEFORE, "")])
def test_other_sources_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(UnknownSourcesError, match="not once"):
        unpack(archive(tmp_path, text))


def test_an_archive_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownSourcesError, match="package-1.0.tar.gz has no vendor"):
        unpack(archive(tmp_path, name="README"))
    with pytest.raises(UnknownSourcesError, match="has 0 archives"):
        unpack(tmp_path / "made")


def test_run_by_itself_it_prints_the_folder_or_the_reason(tmp_path: Path) -> None:
    script = Path(sys.modules[unpack.__module__].__file__ or "")
    good = subprocess.run([sys.executable, "-I", script, archive(tmp_path)], capture_output=True, text=True, check=True)
    assert good.stdout == f"{tmp_path / 'package-1.0'}\n"
    bad = subprocess.run([sys.executable, "-I", script, tmp_path / "made"], capture_output=True, text=True, check=False)
    assert (bad.returncode, bad.stderr) == (1, f"error: {tmp_path / 'made'} has 0 archives, not one\n")


PROGRAM = """\
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <cmath>
#define GGML_CPU_FP16_TO_FP32(x) ((x) == 0xFC00 ? -INFINITY : float(x))
int main(int, char ** arguments) {
    uint16_t mask[64];
    const float slope = 1.0f;
    const char * cells = arguments[1];
    const int64_t begin = arguments[2][0] - '0', ic_end = int64_t(strlen(cells));
    for (int64_t i = 0; i < ic_end; ++i) mask[i] = cells[i] == 'x' ? 0xFC00 : cells[i] - '0';
    const uint16_t * mp = arguments[3] ? nullptr : mask;
    LOOP
}
"""
SEEN = '            if (mv == -INFINITY) continue;\n            printf("%d ", int(ic));\n}\n'


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("loop")
    loop = changed(LOOP).removesuffix("}\n") + SEEN
    (folder / "loop.cpp").write_text(PROGRAM.replace("LOOP", loop))
    subprocess.run(["c++", "-O2", "-o", folder / "loop", folder / "loop.cpp"], check=True)
    return folder / "loop"


@pytest.mark.parametrize("begin", [0, 1, 3])
@pytest.mark.parametrize(
    "cells",
    ["", "x", "xxx", "xxxx", "xxxxx", "0", "xxxx1", "1xxxx", "xxx1xxxx2xxxxxxxx3", "xx1xx2xxx3xxxx4xxxxx5", "1" * 9,
     "x" * 31, "x" * 30 + "7", "0xxxxxxx0xxxx0x0"],
)  # fmt: skip
def test_exactly_the_cells_that_are_not_masked_are_seen(program: Path, cells: str, begin: int) -> None:
    done = subprocess.run([program, cells, str(begin)], capture_output=True, text=True, check=True)
    assert [int(place) for place in done.stdout.split()] == [
        place for place, cell in enumerate(cells) if cell != "x" and place >= begin
    ]


def test_without_a_mask_every_cell_is_seen(program: Path) -> None:
    done = subprocess.run([program, "xxxxxx", "0", "none"], capture_output=True, text=True, check=True)
    assert done.stdout.split() == list("012345")
