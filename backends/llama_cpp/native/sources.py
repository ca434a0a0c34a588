"""Unpack llama.cpp's sources and change what slows down a KV cache that sequences share: `sources.py FOLDER`.

FOLDER has the package's source archive; the folder of the changed sources is printed. Runs by itself, before anything
is installed.

Attention on a CPU looks at each cell of the cache for each head of each row of the batch, and computes with those that
the row may see. Where eight sequences share a cache, seven of eight cells are another's. So four masked cells in a row
are passed over at once; and where rows see cells of their own, what a row may see is listed once for all its heads,
which follow each other then: the lines of memory around a cell that the first head has fetched are there for the next
one, and those of cells further down the list are on their way. No result differs, not even in its last bit.
"""

from __future__ import annotations

import sys
import tarfile
import zlib
from pathlib import Path
from typing import NamedTuple

FILE = Path("vendor", "llama.cpp", "ggml", "src", "ggml-cpu", "ops.cpp")
INCLUDES = "#include <cmath>\n"
ROWS = """\
    for (int ir = ir0; ir < ir1; ++ir) {
        // q indices
        const int iq3 = ir/(neq2*neq1);
        const int iq2 = (ir - iq3*neq2*neq1)/neq1;
        const int iq1 = (ir - iq3*neq2*neq1 - iq2*neq1);
"""
"""The head of the loop over rows: token `iq1`, head `iq2`, stream `iq3`."""
ROWS_IN_TURN = """\
    // Where tokens see the same cells, one head of all tokens comes before the next head, else all heads of one token.
    bool apart = false;
    if (mask && mask->ne[2] == 1 && neq1 > 1) {
        const ggml_fp16_t * first = (const ggml_fp16_t *) mask->data;
        const ggml_fp16_t * last  = (const ggml_fp16_t *) ((const char *) mask->data + (neq1 - 1)*mask->nb[1]);
        int64_t seen = 0, both = 0;
        for (int64_t ic = ic_start; ic < ic_end; ++ic) {
            seen += first[ic] != 0xFC00;
            both += (first[ic] != 0xFC00) & (last[ic] != 0xFC00);
        }
        apart = 2*both < seen;
    }
    static thread_local std::vector<int32_t> cells; // what the token `listed` sees
    int listed = -1;
    const size_t k_size = ggml_row_size(k->type, DK), v_size = ggml_row_size(v->type, DV);

    for (int ir = ir0; ir < ir1; ++ir) {
        // q indices
        const int iq3 = ir/(neq2*neq1);
        const int row = ir - iq3*neq2*neq1;
        const int iq2 = apart ? row%neq2 : row/neq1;
        const int iq1 = apart ? row/neq2 : row - iq2*neq1;
"""
CELLS = """\
        for (int64_t ic = ic_start; ic < ic_end; ++ic) {
            const float mv = mp ? slope*GGML_CPU_FP16_TO_FP32(mp[ic]) : 0.0f;
"""
"""The head of the loop over the cells that a row may see; `mp` is its mask, if there is one."""
CELLS_LISTED = """\
        if (apart && listed != iq3*neq1 + iq1) {
            listed = iq3*neq1 + iq1;
            cells.clear();
            for (int64_t ic = ic_start; ic < ic_end; ++ic) {
                if (mp[ic] != 0xFC00) {
                    cells.push_back(ic);
                }
            }
        }
        const int64_t end = apart ? (int64_t) cells.size() : ic_end;
        for (int64_t at = apart ? 0 : ic_start; at < end; ++at) {
            if (apart && at + 4 < end) {
                const int64_t next = cells[at + 4];
                const char * k_next = (const char *) k->data + (next*nbk1 + ik2*nbk2 + ik3*nbk3);
                const char * v_next = (const char *) v->data + (next*nbv1 + iv2*nbv2 + iv3*nbv3);
                for (size_t byte = 0; byte < k_size; byte += CACHE_LINE_SIZE) {
                    __builtin_prefetch(k_next + byte);
                }
                for (size_t byte = 0; byte < v_size; byte += CACHE_LINE_SIZE) {
                    __builtin_prefetch(v_next + byte);
                }
            } else if (mp && !apart) {
                uint64_t four;
                while (at + 4 <= end && (memcpy(&four, mp + at, 8), four == 0xFC00FC00FC00FC00u)) {
                    at += 4; // four times minus infinity
                }
                if (at >= end) {
                    break;
                }
            }
            const int64_t ic = apart ? cells[at] : at;
            const float mv = mp ? slope*GGML_CPU_FP16_TO_FP32(mp[ic]) : 0.0f;
"""


class Change(NamedTuple):
    """A text that stands in `FILE` once, and what takes its place."""

    before: str
    after: str


CHANGES = (Change(INCLUDES, f"{INCLUDES}#include <vector>\n"), Change(ROWS, ROWS_IN_TURN), Change(CELLS, CELLS_LISTED))


class UnknownSourcesError(Exception):
    """The sources are not those that the changes were made for; the message says what is missing."""


def changed(text: str) -> str:
    """The text of `FILE` with all changes.

    Raises:
        UnknownSourcesError: one of the places to change is not there exactly once.
    """
    for before, after in CHANGES:
        if text.count(before) != 1:
            line = before.splitlines()[-1].strip()
            raise UnknownSourcesError(f"{FILE} has the lines that end in '{line}' {text.count(before)} times, not once")
        text = text.replace(before, after)
    return text


def unpack(folder: Path) -> Path:
    """The changed sources from the archive in `folder`.

    Raises:
        UnknownSourcesError: there is not one archive that can be read and has what is to be changed.
    """
    archives = list(folder.glob("*.tar.gz"))
    if len(archives) != 1:
        raise UnknownSourcesError(f"{folder} has {len(archives)} archives, not one")
    try:
        with tarfile.open(archives[0]) as tar:
            tar.extractall(folder, filter="data")
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise UnknownSourcesError(f"{archives[0].name} cannot be read: {error}") from None
    sources = folder / archives[0].name.removesuffix(".tar.gz")
    path = sources / FILE
    if not path.is_file():
        raise UnknownSourcesError(f"{archives[0].name} has no {FILE}")
    path.write_text(changed(path.read_text("utf-8")), "utf-8")
    return sources


if __name__ == "__main__":
    try:
        sys.stdout.write(f"{unpack(Path(sys.argv[1]))}\n")
    except (UnknownSourcesError, OSError) as error:
        sys.exit(f"error: {error}")
