"""What vLLM's processes say on standard error, passed on and looked through for the reason why a start failed.

vLLM's own exception only says that the reason stands above it, in the output of another process.
"""

from __future__ import annotations

import os
import re
import threading
from collections import deque

from backends.base import EngineCrashedError, EngineError, ModelUnavailableError

_REASON = re.compile(r"\b(\w*(?:Error|Exception|Interrupt)): (.+)")
_GENERIC = ("Engine core initialization failed", "WorkerProc initialization failed", "Executor failed")
_LONGEST_REASON = 600
_KILLED = re.compile(r"-9\b")
_UNSEEN = "Failed core proc(s): {}"
"""vLLM noticed that its engine core was gone before it could ask how that had ended."""
_OUT_OF_MEMORY = ("out of memory", "OutOfMemory", "Cannot allocate", "bad_alloc", "can't allocate")
_RETRY_S = 1.0
_KEPT = 40
_READ_BYTES = 65536


class Overheard:
    """Takes the place of standard output and standard error for as long as this process lives.

    Children inherit it, so there is no way back: a thread copies what is said to where it would have gone.
    """

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=_KEPT)
        self._heard_through = os.dup(2)
        read_end, write_end = os.pipe()
        for descriptor in (1, 2):
            os.dup2(write_end, descriptor)
        os.close(write_end)
        threading.Thread(target=self._copy, args=(read_end,), name="overheard", daemon=True).start()

    def reason(self) -> str | None:
        """The last error that was told and says more than that there was one."""
        return last_reason(list(self._lines))

    def _copy(self, read_end: int) -> None:
        rest = b""
        while data := os.read(read_end, _READ_BYTES):
            os.write(self._heard_through, data)
            *lines, rest = (rest + data).split(b"\n")
            self._lines.extend(line.decode(errors="replace") for line in lines if b": " in line)


def last_reason(lines: list[str]) -> str | None:
    """The last error in a log that names a cause."""
    for line in reversed(lines):
        found = _REASON.search(line)
        if found and not found[2].startswith(_GENERIC):
            return f"{found[1]}: {found[2].strip()}"
    return None


def start_failure(error: Exception, overheard: str | None) -> EngineError:
    """What a failed start is told as; `overheard` is the cause that another process has named."""
    words = str(error)
    cause = overheard if isinstance(error, RuntimeError) and overheard else words
    cause = " ".join(cause.split())[:_LONGEST_REASON]
    if _KILLED.search(words) or (_UNSEEN in words and overheard is None):  # whoever fails says why
        return EngineCrashedError(
            "vLLM's engine core was killed while it loaded the model, most likely because memory ran out",
            retry_after_s=_RETRY_S,
        )
    if any(sign in f"{words} {cause}" for sign in _OUT_OF_MEMORY):
        return ModelUnavailableError(
            f"vLLM ran out of memory while it loaded the model ({cause}): set JARVIS_VLLM_DTYPE=bfloat16, a smaller"
            " JARVIS_MODEL_CONTEXT_WINDOW, JARVIS_VLLM_CPU_KVCACHE_SPACE or JARVIS_VLLM_GPU_MEMORY_UTILIZATION, or"
            " serve a smaller model"
        )
    return ModelUnavailableError(f"vLLM cannot serve this model: {cause}")
