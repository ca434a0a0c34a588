"""The processes of a server: its worker, and what vLLM has started below it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path

PATIENCE_S = 20.0


def children(pid: int) -> list[int]:
    """Direct children of a process."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(entry.name))
    return found


def descendants(pid: int) -> dict[int, str]:
    """All processes below one, with what each calls itself."""
    found: dict[int, str] = {}
    for child in children(pid):
        found[child] = command(child)
        found |= descendants(child)
    return found


def command(pid: int) -> str:
    """The command line of a process; empty when it has ended."""
    try:
        return (Path("/proc") / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def computed_s(pids: Iterable[int]) -> float:
    """Seconds of processor time that these processes have taken so far."""
    ticks = 0
    for pid in pids:
        fields = (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def named(pid: int, name: str) -> int:
    """The process below `pid` that calls itself so; waits for it."""
    give_up = time.monotonic() + 10 * PATIENCE_S
    while time.monotonic() < give_up:
        if found := [child for child, words in descendants(pid).items() if name in words]:
            return found[0]
        time.sleep(0.1)
    raise AssertionError(f"no {name} below {pid}: {descendants(pid)}")


def alive(pids: dict[int, str]) -> dict[int, str]:
    """Those that are still there, under the same name; zombies have none."""
    return {pid: words for pid, words in pids.items() if words and command(pid) == words}


def end_of(pids: dict[int, str]) -> dict[int, str]:
    """Waits until none of them is there any more; returns those that stayed."""
    give_up = time.monotonic() + PATIENCE_S
    while (left := alive(pids)) and time.monotonic() < give_up:
        time.sleep(0.1)
    return left


def kill(pid: int) -> None:
    """End a process without a word."""
    os.kill(pid, signal.SIGKILL)
