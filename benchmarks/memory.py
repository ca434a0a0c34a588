"""What an engine worker weighs beyond the model, the KV cache and llama.cpp's own buffers. Linux only (/proc).

Pages of the model are told apart because they map its file. The buffers are anonymous memory; their sizes stand in
llama.cpp's log, but not all of a buffer need have been touched. So all large anonymous mappings together count as
buffers, up to what the log says, and everything else is the worker's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import Figures

LARGE_KB = 32 * 1024
"""A buffer's mapping has at least this size; Python's own arenas are smaller."""
_BUFFER = re.compile(r"(\S+)\s+(?:\w+ )?buffer size =\s*([\d.]+) MiB")
_HEADER = re.compile(r"^[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ \d+ *(.*)$")


@dataclass(frozen=True)
class Mapping:
    """One mapping of a process: the file it maps, or nothing; its size and its resident part, in kB."""

    path: str
    size_kb: int
    rss_kb: int


class UnknownError(Exception):
    """The system or the log does not tell."""


def mappings(smaps: str) -> list[Mapping]:
    """The mappings in the text of `/proc/PID/smaps`."""
    found: list[Mapping] = []
    for line in smaps.splitlines():
        if header := _HEADER.match(line):
            found.append(Mapping(header.group(1), 0, 0))
        elif line.startswith("Size:"):
            found[-1] = Mapping(found[-1].path, int(line.split()[1]), 0)
        elif line.startswith("Rss:"):
            found[-1] = Mapping(found[-1].path, found[-1].size_kb, int(line.split()[1]))
    return found


def buffers_kb(log: str) -> float:
    """All buffers that llama.cpp says it has taken, in kB, without weights that are mapped from the file.

    Raises:
        UnknownError: the log names none.
    """
    found = [(name, float(size)) for name, size in _BUFFER.findall(log)]
    if not found:
        raise UnknownError("llama.cpp's log does not name its buffers")
    return sum(size for name, size in found if not name.endswith("_Mapped")) * 1024


def own_kb(found: Iterable[Mapping], model: Path, buffers: float) -> float:
    """Resident kB that are neither the model's pages nor buffers."""
    others = [mapping for mapping in found if mapping.path != str(model)]
    large = sum(mapping.rss_kb for mapping in others if not mapping.path and mapping.size_kb >= LARGE_KB)
    return sum(mapping.rss_kb for mapping in others) - min(large, buffers)


def worker_memory(edge: int, model: Path, log: str) -> Figures:
    """The worker's own memory, and that of the processes it has started, in MB (10⁶ bytes).

    `edge` is the process id of the server, `log` the text of what it has logged.

    Raises:
        UnknownError: there is no worker, or this is not Linux.
    """
    worker = next((pid for pid in children(edge) if "backends.worker" in command(pid)), None)
    if worker is None:
        raise UnknownError("no worker process is found")
    found = mappings(_smaps(worker))
    started_kb = sum(mapping.rss_kb for pid in children(worker) for mapping in mappings(_smaps(pid)))
    return {
        "worker's own": own_kb(found, model.resolve(), buffers_kb(log)) * 1024 / 1e6,
        "worker in all": sum(mapping.rss_kb for mapping in found) * 1024 / 1e6,
        "template renderer": started_kb * 1024 / 1e6,
    }


def children(pid: int) -> list[int]:
    """The processes that a process has started. Raises `UnknownError` where the system does not tell."""
    try:
        return [
            int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in _read(task / "children").split()
        ]
    except OSError as error:
        raise UnknownError(f"/proc does not tell: {error}") from None


def command(pid: int) -> str:
    """The command line of a process."""
    return _read(Path(f"/proc/{pid}/cmdline")).replace("\0", " ")


def _smaps(pid: int) -> str:
    return _read(Path(f"/proc/{pid}/smaps"))


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError as error:
        raise UnknownError(f"{path}: {error.strerror}") from None
