"""The source distribution of llama-cpp-python: real vocabularies and real chat templates to test against."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from benchmarks.sdist import unpacked


@cache
def sdist() -> Path:
    """The unpacked source distribution. Raises `CalledProcessError` where it is neither cached nor to be had."""
    return unpacked(Path.home() / ".cache" / "jarvis")


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
