"""The source distribution of llama-cpp-python, which carries real vocabularies and real chat templates to test against.

Looked for in the cache folder; fetched from the package index, once, where it is missing.
"""

from __future__ import annotations

import fcntl
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

VERSION = "0.3.36"
_CACHE = Path.home() / ".cache" / "jarvis" / "sdist"


@cache
def sdist() -> Path:
    """The unpacked source distribution. Raises `CalledProcessError` where it is neither cached nor to be had."""
    folder = _CACHE / f"llama_cpp_python-{VERSION}"
    _CACHE.mkdir(parents=True, exist_ok=True)
    with _locked(_CACHE / ".lock"):
        if not folder.is_dir():
            _fetch(folder)
    return folder


@cache
def models() -> Path:
    """The folder of llama.cpp that holds `ggml-vocab-*.gguf` and `templates/*.jinja`."""
    return sdist() / "vendor" / "llama.cpp" / "models"


def vocabulary_file(name: str) -> Path:
    """The vocabulary-only GGUF of one real tokeniser, such as `llama-bpe` or `qwen2`."""
    return models() / f"ggml-vocab-{name}.gguf"


def template_files() -> list[Path]:
    """The chat templates of real models, sorted by name."""
    return sorted((models() / "templates").glob("*.jinja"))


def _fetch(folder: Path) -> None:
    """Download and unpack beside the final place, then rename: no half-unpacked folder is ever found."""
    with tempfile.TemporaryDirectory(dir=_CACHE) as scratch:
        options = ["--quiet", "--no-deps", "--no-binary", "llama-cpp-python", "--dest", scratch]
        command = [sys.executable, "-m", "pip", "download", *options, f"llama-cpp-python=={VERSION}"]
        subprocess.run(command, check=True, capture_output=True, timeout=600)
        [archive] = Path(scratch).glob("*.tar.gz")
        with tarfile.open(archive) as tar:
            tar.extractall(scratch, filter="data")
        (Path(scratch) / folder.name).rename(folder)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One process at a time, for test runs side by side."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
