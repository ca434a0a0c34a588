"""The source distribution of llama-cpp-python: llama.cpp whole, real vocabularies and templates, an example server.

Looked for in the cache folder; fetched from the package index, once, where it is missing.
"""

from __future__ import annotations

import fcntl
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "llama-cpp-python"


def version() -> str:
    """The version that the engine is built from."""
    [found] = re.findall(rf"^{PACKAGE}==(\S+)$", (ROOT / "requirements-llama-cpp.txt").read_text(), re.MULTILINE)
    return str(found)


def unpacked(cache: Path) -> Path:
    """The unpacked source distribution below `cache`.

    Raises:
        subprocess.CalledProcessError: it is not there and cannot be fetched; `stderr` says why.
    """
    folder = cache / "sdist" / f"llama_cpp_python-{version()}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder.parent / ".lock"):
        if not folder.is_dir():
            _fetch(folder)
    return folder


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """One process at a time, for runs side by side."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _fetch(folder: Path) -> None:
    """Download and unpack beside the final place, then rename: no half-unpacked folder is ever found."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        options = ["--quiet", "--no-deps", "--no-binary", PACKAGE, "--dest", scratch]
        command = [sys.executable, "-m", "pip", "download", *options, f"{PACKAGE}=={version()}"]
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)
        [archive] = Path(scratch).glob("*.tar.gz")
        with tarfile.open(archive) as tar:
            tar.extractall(scratch, filter="data")
        (Path(scratch) / folder.name).rename(folder)
