"""The library that the tests call: the one that run.sh has compiled, or one of their own."""

from __future__ import annotations

import os
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from kernels.levels import BUILD_NOTE, available

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "kernels" / "build.sh"

EMULATED = "KERNELS_LIBRARY" in os.environ
"""Whether this is another processor than the machine's: the one who starts the tests there has built the library."""


@cache
def library() -> Path | None:
    """The path; `None` where there is no compiler, so that only NumPy is tested."""
    if EMULATED:
        return Path(os.environ["KERNELS_LIBRARY"])
    if BUILD_NOTE.exists() and len(available()) > 1:
        return Path(BUILD_NOTE.read_text().strip())
    return build(Path(tempfile.mkdtemp(prefix="kernels-")))


def build(folder: Path, **environ: str) -> Path | None:
    """What `build.sh` makes in a folder; `None` where it fails."""
    done = subprocess.run([BUILD, folder], env=os.environ | environ, capture_output=True, text=True, check=False)
    return Path(done.stdout.strip()) if done.returncode == 0 else None


def levels_to_test() -> tuple[str, ...]:
    """All that can run here, or those that KERNELS_LEVELS names."""
    there = available(library()) if library() else ("numpy",)
    wanted = os.environ.get("KERNELS_LEVELS")
    if wanted is None:
        return there
    named = tuple(wanted.split(","))
    assert set(named) <= set(there), f"{named} are to be tested, and {there} are there"
    return named
