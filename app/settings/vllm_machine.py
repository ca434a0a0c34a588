"""What vLLM's environment needs on this machine, where the user has not set it."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from pathlib import Path

CALM = {
    # A forked process would inherit the worker's threads half way through what they do, and its socket.
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
    "VLLM_NO_USAGE_STATS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
"""Set for every vLLM worker: how its processes start, nothing told to others, no second pool of threads."""

_TCMALLOC = ("usr/lib*/libtcmalloc_minimal.so.4", "usr/lib/*/libtcmalloc_minimal.so.4", "usr/lib*/libtcmalloc.so.4",
             "usr/lib/*/libtcmalloc.so.4")  # fmt: skip


def tuning(root: Path = Path("/"), machine: str | None = None) -> dict[str, str]:
    """Variables that make vLLM faster on this machine's processor; `root` is where the file system begins.

    Nothing where there is an NVIDIA GPU, whose build of vLLM does not read them.
    """
    if (root / "proc/driver/nvidia/version").exists():
        return {}
    found = {"VLLM_CPU_OMP_THREADS_BIND": "auto"}
    if (machine or platform.machine()) in ("aarch64", "arm64") and "bf16" in _features(root):
        found["ONEDNN_DEFAULT_FPMATH_MODE"] = "BF16"
    if library := _first(path for pattern in _TCMALLOC for path in sorted(root.glob(pattern))):
        found["LD_PRELOAD"] = str(library)
    return found


def _features(root: Path) -> frozenset[str]:
    """What the processor says it can do."""
    try:
        lines = (root / "proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line.partition(":")[2].split() for line in lines if line.startswith("Features")), ()))


def _first(paths: Iterable[Path]) -> Path | None:
    return next(iter(paths), None)
