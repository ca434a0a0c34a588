"""The command `quantize` in words: how far it is, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TextIO

from backends.byte_sizes import readable
from backends.llama_cpp.model_file import ModelFile
from backends.llama_cpp.quantising import Progress, Quantised

LINE_EVERY_S = 5.0


class ProgressLine:
    """Shows progress on a terminal as one line that is written over, in a file as a line every few seconds."""

    def __init__(self, stream: TextIO, now: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._now = now
        self._terminal = stream.isatty()
        self._next_s = now()
        self._open = False

    def show(self, progress: Progress) -> None:
        """Show it, if it is time for another line."""
        if self._terminal:
            self._write(f"\r\x1b[K{in_words(progress)}")
            self._open = True
        elif self._now() >= self._next_s:
            self._next_s = self._now() + LINE_EVERY_S
            self._write(f"{in_words(progress)}\n")

    def close(self) -> None:
        """Leave the line, so that what follows stands on one of its own."""
        if self._open:
            self._write("\n")
            self._open = False

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def in_words(progress: Progress) -> str:
    """One line: `quantising:  42 %, 122 of 290 tensors, 5.1 GB of 12.3 GB`."""
    tensors = f"{progress.tensors_done} of {progress.tensors} tensors"
    size = f"{readable(progress.bytes_done)} of {readable(progress.bytes)}"
    return f"quantising: {100 * progress.fraction:3.0f} %, {tensors}, {size}"


def summary(done: Quantised) -> Iterator[str]:
    """What was written, and what it changes on disk and in memory."""
    yield _row("before", done.before)
    yield _row("after", done.after)
    ratio = done.before.size_bytes / done.after.size_bytes
    yield f"{done.after.parts[0]} written in {done.seconds:.1f} s; the files are {ratio:.2f} to 1 in size"
    if done.substituted:
        reason = f"whose rows have a length that {done.after.kind} cannot hold"
        yield f"tensors {reason}: {done.substituted}; llama.cpp gave them the nearest kind that can"


def _row(when: str, model: ModelFile) -> str:
    cache = f"{readable(model.cache_bytes())} KV cache of a context of {model.default_window} tokens"
    memory = f"{readable(model.memory_bytes())} ({readable(model.weight_bytes)} weights, {cache})"
    return f"{when:7} {model.kind:7} file {readable(model.size_bytes)}, memory about {memory}"
