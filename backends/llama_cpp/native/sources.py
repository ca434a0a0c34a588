"""Unpack llama.cpp's sources and change what slows down a KV cache that sequences share: `sources.py FOLDER`.

FOLDER has the package's source archive; the folder of the changed sources is printed. Runs by itself, before anything
is installed.

Attention on a CPU looks at each cell of the cache for each row of the batch, and computes with those that the row may
see. Where eight sequences share a cache, seven of eight cells are another's: to see that they are masked takes as long
as to compute with the others. So four masked cells in a row are passed over at once.
"""

from __future__ import annotations

import sys
import tarfile
from pathlib import Path

FILE = Path("vendor", "llama.cpp", "ggml", "src", "ggml-cpu", "ops.cpp")
BEFORE = "            const float mv = mp ? slope*GGML_CPU_FP16_TO_FP32(mp[ic]) : 0.0f;\n"
"""The line before which cells are passed over, in a loop over `ic` below `ic_end`; `mp` is the row's mask, if any."""
SKIPPING = """\
            if (mp) {
                uint64_t four;
                while (ic + 4 <= ic_end && (memcpy(&four, mp + ic, 8), four == 0xFC00FC00FC00FC00u)) {
                    ic += 4;  // four times minus infinity
                }
                if (ic >= ic_end) {
                    break;
                }
            }
"""


class UnknownSourcesError(Exception):
    """The sources are not those that the change was made for; the message says what is missing."""


def changed(text: str) -> str:
    """The text of `FILE` with the change.

    Raises:
        UnknownSourcesError: it does not have the line exactly once.
    """
    if text.count(BEFORE) != 1:
        raise UnknownSourcesError(f"{FILE} has the line '{BEFORE.strip()}' {text.count(BEFORE)} times, not once")
    return text.replace(BEFORE, SKIPPING + BEFORE)


def unpack(folder: Path) -> Path:
    """The changed sources from the archive in `folder`.

    Raises:
        UnknownSourcesError: there is not one archive with what is to be changed.
    """
    archives = list(folder.glob("*.tar.gz"))
    if len(archives) != 1:
        raise UnknownSourcesError(f"{folder} has {len(archives)} archives, not one")
    with tarfile.open(archives[0]) as tar:
        tar.extractall(folder, filter="data")
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
