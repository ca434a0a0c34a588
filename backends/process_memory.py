"""What a process takes of the machine's memory, as the kernel counts it (proc(5))."""

from __future__ import annotations

import os
from pathlib import Path


def resident_bytes() -> int | None:
    """Bytes of this process that are in memory, pages of mapped files among them; `None` where nothing tells."""
    return _from_status("VmRSS")


def locked_bytes() -> int:
    """Bytes of this process that cannot be swapped out; 0 where nothing tells."""
    return _from_status("VmLck") or 0


def _from_status(field: str) -> int | None:
    try:
        lines = Path(f"/proc/{os.getpid()}/status").read_text().splitlines()
    except OSError:
        return None
    kilobytes = next((line.split()[1] for line in lines if line.startswith(f"{field}:")), None)
    return int(kilobytes) * 1024 if kilobytes else None
