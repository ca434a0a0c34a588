"""What the machine offers to an engine that was told nothing: cores and memory."""

from __future__ import annotations

import os
from pathlib import Path

_BYTES_WORTH_A_THREAD = 32 * 2**20  # with less, meeting the others takes a good part of each operation
_FEWEST_TOKENS = 512
_IDLE_ON_A_GPU = 1024
_TOPOLOGY = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"


def physical_cores() -> int:
    """Cores that this process may use, hardware threads of one core counted once."""
    try:
        allowed = os.sched_getaffinity(0)
        siblings = {Path(_TOPOLOGY.format(cpu)).read_text() for cpu in allowed}
    except (AttributeError, OSError):
        return os.cpu_count() or 1  # not Linux, or a kernel that does not tell
    return max(len(siblings), 1)


def sensible_threads(model_bytes: int, cores: int) -> int:
    """Threads for a model of that size: all cores, except for models so small that threads would wait for each other.

    Threads meet after every operation. Where that takes as long as the operation, one that is not scheduled at the
    moment (on a busy machine) costs more than all of them gain.
    """
    return max(1, min(cores, model_bytes // _BYTES_WORTH_A_THREAD))


def available_memory() -> int | None:
    """Bytes that can be taken without swapping, or `None` where the system does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    kilobytes = next((line.split()[1] for line in lines if line.startswith("MemAvailable:")), None)
    return int(kilobytes) * 1024 if kilobytes else None


def tokens_that_fit(wanted: int, token_bytes: int, available: int | None) -> int:
    """Tokens of one input to make room for: at most `wanted` and half of the free memory, but some hundreds always."""
    if available is None or token_bytes <= 0:
        return wanted
    return min(wanted, max(_FEWEST_TOKENS, available // 2 // token_bytes))


def prefix_tokens(token_bytes: float, available: int | None) -> int:
    """Tokens of past prompts to remember: what fits two gibibytes and an eighth of the free memory."""
    most = 2**31 if available is None else min(2**31, available // 8)
    return int(most // token_bytes) if token_bytes > 0 else 0


def idle_cells(*, gpu: bool) -> int:
    """KV cells that may stay unused while others compute: none on a CPU, where each slows down every step.

    On a GPU they cost next to nothing, and to move them out takes the bus to ordinary memory.
    """
    return _IDLE_ON_A_GPU if gpu else 0


def windows_that_fit(wanted: int, window_bytes: int, available: int | None) -> int:
    """Context windows of KV cache to reserve: at most `wanted` and half of the free memory, at least one."""
    if available is None or window_bytes <= 0:
        return wanted
    return max(1, min(wanted, available // 2 // window_bytes))
