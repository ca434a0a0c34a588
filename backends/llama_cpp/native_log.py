"""llama.cpp's log lines, passed on to `logging`, and kept for a moment where they explain a failure."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import llama_cpp

log = logging.getLogger("llama.cpp")

_LEVELS = {1: logging.DEBUG, 2: logging.INFO, 3: logging.WARNING, 4: logging.ERROR}  # ggml_log_level
_CONTINUED = 5
_EXPECTED = (
    # The KV cache is shared by many requests, so it is larger than the context of any of them on purpose.
    "possible training context overflow",
    # One line for each factor of an adapter where the model's own weights were reordered for the processor.
    "cannot use buft",
)


class _NativeLog:
    """Receives llama.cpp's log callback. One per process, because llama.cpp has one log per process."""

    def __init__(self) -> None:
        self.listeners: list[list[str]] = []
        self._level = logging.INFO
        # llama.cpp keeps the pointer: if this object were collected, the next line would end the process.
        self.callback: Any = llama_cpp.llama_log_callback(self._line)

    def _line(self, level: int, text: bytes, _: object) -> None:
        if level != _CONTINUED:
            self._level = _LEVELS.get(level, logging.INFO)
        line = text.decode(errors="replace").strip(" .\n")
        if not line:
            return
        if any(expected in line for expected in _EXPECTED):
            return
        if self._level >= logging.WARNING:
            for lines in self.listeners:
                lines.append(line)
        log.log(self._level, "%s", line)


_native_log = _NativeLog()


def install(level: str) -> None:
    """Send llama.cpp's lines of at least `level` (a name of `logging`, or `none`) to the logger `llama.cpp`."""
    log.setLevel(logging.CRITICAL if level == "none" else level.upper())
    llama_cpp.llama_log_set(_native_log.callback, None)


@contextlib.contextmanager
def collect_errors() -> Iterator[list[str]]:
    """The warnings and errors that llama.cpp logs inside the `with` block."""
    lines: list[str] = []
    _native_log.listeners.append(lines)
    try:
        yield lines
    finally:
        _native_log.listeners.remove(lines)


def reason(errors: list[str]) -> str:
    """The most telling of the collected lines: llama.cpp logs the cause first and its consequences after it."""
    causes = [line.rsplit(": error ", 1)[-1] for line in errors if "error" in line.lower() or "fail" in line.lower()]
    return (causes or errors or ["no reason given"])[0][:300]
