"""What the kernels cost: `python -m benchmarks.kernels [--level LEVEL] [--only TEXT] [--json FILE]`.

Microseconds of one call here (medians of batches, turn by turn with the peers), beside NumPy and, where it is
installed, NumKong; the bytes that a call must read and write per second, as a share of what copying memory reaches;
and, where qemu-user is installed, the instructions that each kernel executes on aarch64, against their budgets. The
exit status is 1 if a budget is broken. Times are judged by nobody.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import numpy as np

import kernels
from benchmarks import instructions
from benchmarks.kernel_calls import Call, calls

BATCH_S, BATCHES = 0.004, 15
COPY_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Figure:
    """A call's name, the level, microseconds of ours and of the peers, and gigabytes per second of ours."""

    name: str
    level: str
    ours_us: float
    peers_us: dict[str, float]
    gb_per_s: float
    share_of_copy: float


def main() -> int:
    """Measure and print; the exit status."""
    parser = argparse.ArgumentParser(description="What the kernels cost.")
    parser.add_argument("--level", default="auto", help="of ours, as JARVIS_KERNELS has it (default: %(default)s)")
    parser.add_argument("--only", default="", metavar="TEXT", help="measure the calls whose names contain it")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    parser.add_argument("--instructions-only", action="store_true", help="count instructions, measure no time")
    parser.add_argument("--write-budgets", action="store_true", help="take what is counted as the new budgets")
    given = parser.parse_args()
    figures = [] if given.instructions_only else list(measured(given.level, given.only))
    if figures:
        print("\n".join(table(figures)), end="\n\n")
    if given.json:
        given.json.write_text(json.dumps([asdict(figure) for figure in figures], indent=1))
    return judged(given.write_budgets)


def measured(level: str, only: str = "") -> Iterator[Figure]:
    """Every call whose name contains `only`, at a level, beside its peers."""
    chosen = kernels.select(level)
    copied = copy_gb_per_s()
    threads = os.environ.get("OPENBLAS_NUM_THREADS", "as many threads as it likes")
    print(f"level: {chosen.level} ({chosen.reason}); copying memory: {copied:.1f} GB/s; NumPy: {threads}")
    for call in (call for call in calls() if only in call.name):
        found = side_by_side(call, chosen.level)
        ours = found.pop("ours")
        rate = call.nbytes / ours / 1e3
        at = kernels.active().get(call.function, {"level": chosen.level})["level"]
        yield Figure(call.name, at, ours, found, rate, rate / copied)


def side_by_side(call: Call, level: str) -> dict[str, float]:
    """Microseconds of `ours` at a level and of each peer; one called NumPy runs at the NumPy level."""
    runs: dict[str, tuple[Callable[[], object], str]] = {"ours": (call.run, level)}
    runs |= {name: (peer, level) for name, peer in call.peers.items()}
    if not call.peers:
        runs["NumPy"] = (call.run, "numpy")
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(BATCHES):
        for name, (run, at) in runs.items():
            kernels.select(at)
            times[name].append(batch(run))
    kernels.select(level)
    return {name: median(of) for name, of in times.items()}


def batch(run: Callable[[], object]) -> float:
    """Microseconds of one of as many calls as a moment holds."""
    run()
    began = time.perf_counter()
    run()
    number = max(1, int(BATCH_S / (time.perf_counter() - began)))
    began = time.perf_counter()
    for _ in range(number):
        run()
    return (time.perf_counter() - began) / number * 1e6


def copy_gb_per_s() -> float:
    """What copying a large array reads and writes, in 10^9 bytes per second."""
    source = np.ones(COPY_BYTES, np.uint8)
    target = np.empty_like(source)
    return 2 * COPY_BYTES / median(batch(lambda: np.copyto(target, source)) for _ in range(BATCHES)) / 1e3


def table(figures: list[Figure]) -> Iterator[str]:
    """One line for each call."""
    yield f"{'call':50}{'level':>8}{'ours, µs':>10}{'GB/s':>8}{'of copy':>9}   peers, µs (and how often ours fits in)"
    for figure in figures:
        peers = "  ".join(f"{name} {of:.2f} ({of / figure.ours_us:.1f}×)" for name, of in figure.peers_us.items())
        yield (
            f"{figure.name:50}{figure.level:>8}{figure.ours_us:10.2f}{figure.gb_per_s:8.1f}{figure.share_of_copy:9.0%}"
            f"   {peers}"
        )


def judged(write: bool) -> int:
    """Count instructions, print them, and say which budgets are broken; the exit status."""
    try:
        counted = instructions.counted()
    except instructions.UnavailableError as error:
        print(f"!!!! INSTRUCTIONS ARE NOT COUNTED: {error}")
        return 0
    print("\n".join(instructions.table(counted)))
    if write:
        counted.write()
    allowed = instructions.Counted.read()
    if allowed.compiler != counted.compiler:
        print(f"!!!! NOT JUDGED: the budgets are for {allowed.compiler}, and here is {counted.compiler}")
        return 0
    broken = list(instructions.broken(counted.counts, allowed.counts))
    print("\n".join(f"BROKEN  {line}" for line in broken) or "all within their budgets")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
