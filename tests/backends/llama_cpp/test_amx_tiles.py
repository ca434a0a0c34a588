"""What `native/amx_tiles.h` makes of GCC's intrinsics, seen in the assembly: that needs no processor with AMX."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from pathlib import Path

import pytest

HEADER = Path(__file__).resolve().parents[3] / "backends" / "llama_cpp" / "native" / "amx_tiles.h"
PROGRAM = r"""
#include <immintrin.h>
struct alignas(64) Config {
    unsigned char palette, start, none[14];
    unsigned short columns[16];
    unsigned char rows[16];
};
extern "C" void configure(unsigned char rows) {
    Config config = {};
    config.palette = 1;
    config.rows[5] = rows;
    _tile_loadconfig(&config);
}
#define FIRST 3
extern "C" void load(int number) {
    alignas(64) int tile[256] = {};
    tile[77] = number;
    _tile_loadd(FIRST, tile, 64);
}
"""

pytestmark = pytest.mark.skipif(
    (platform.system(), platform.machine()) != ("Linux", "x86_64") or shutil.which("g++") is None,
    reason="needs g++ for x86-64",
)


@pytest.fixture(scope="module")
def functions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The assembly of each function."""
    source = tmp_path_factory.mktemp("amx") / "program.cpp"
    source.write_text(PROGRAM)
    options = ["-O3", "-S", "-std=c++17", "-mamx-tile", "-mamx-int8", "-include", str(HEADER), "-o", "-"]
    done = subprocess.run(["g++", *options, str(source)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(re.findall(r"^([a-z]+):\n(.*?)\n\tret", done.stdout, re.MULTILINE | re.DOTALL))


def test_all_of_a_configuration_is_in_memory_when_it_is_loaded(functions: dict[str, str]) -> None:
    before, loads, _ = functions["configure"].partition("ldtilecfg")
    assert loads
    assert re.search(r"mov[bl]\s+%(dil|edi|al|eax)", before), "the number of rows is not written"


def test_a_tile_is_in_memory_when_it_is_loaded(functions: dict[str, str]) -> None:
    before, loads, after = functions["load"].partition("tileloadd")
    assert loads
    assert "%tmm3" in after.splitlines()[0]
    assert re.search(r"movl\s+%(edi|eax)", before), "the number is not written"
