"""How many instructions the kernels execute on aarch64, counted under emulation, and how many they may.

Time means nothing there, but the number of executed instructions is exact and the same each time. Budgets are what was
counted when they were written, by the version of the compiler that wrote them; more than `ALLOWED` above is a failure.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from kernels.levels import NATIVE

FOLDER = Path(__file__).parent
KERNELS = FOLDER.parents[1] / "kernels"
BUDGETS = FOLDER / "budgets.json"
ALLOWED = 0.03
SAME = 0.01
"""Counts that are so near belong to the same code."""

CROSS, EMULATOR, SYSROOT = "aarch64-linux-gnu-gcc", "qemu-aarch64", Path("/usr/aarch64-linux-gnu")
PROCESSORS = {"scalar": "cortex-a72", "neon": "cortex-a72", "dotprod": "neoverse-n1", "i8mm": "max"}
"""The emulated processor for each level."""

Counts = Mapping[str, Mapping[str, int]]
"""Instructions of one call, by case and level."""


class UnavailableError(Exception):
    """Instructions cannot be counted here; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Case:
    """A call that is counted, and how many `unit`s it works on."""

    name: str
    units: int
    unit: str


@dataclass(frozen=True, slots=True)
class Counted:
    """What was counted, or may be; it depends on the compiler."""

    compiler: str
    counts: Counts
    cases: tuple[Case, ...] = ()

    @classmethod
    def read(cls) -> Self:
        """The committed counts."""
        return cls(**json.loads(BUDGETS.read_text()))

    def write(self) -> None:
        """Commit to these."""
        BUDGETS.write_text(json.dumps({"compiler": self.compiler, "counts": self.counts}, indent=1) + "\n")


@dataclass(frozen=True, slots=True)
class Counter:
    """The compiled program and plugin."""

    program: Path
    plugin: Path

    def cases(self) -> list[Case]:
        """All calls there are."""
        lines = self._run("max").stdout.splitlines()
        return [Case(name, int(units), unit) for name, units, unit in map(str.split, lines)]

    def count(self, case: str, level: str) -> int:
        """Instructions of one call."""
        once, twice = (self._executed(case, level, times) for times in (1, 2))
        return twice - once

    def _executed(self, case: str, level: str, times: int) -> int:
        said = self._run(PROCESSORS[level], str(NATIVE.index(level)), case, str(times)).stderr
        if not re.fullmatch(r"\d+\n", said):
            raise UnavailableError(f"this {EMULATOR} does not take the counting plugin: {said.strip()[:200]}")
        return int(said)

    def _run(self, processor: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command: list[str | Path] = [
            EMULATOR,
            "-L",
            SYSROOT,
            "-cpu",
            processor,
            "-plugin",
            self.plugin,
            self.program,
            *arguments,
        ]
        return subprocess.run(command, capture_output=True, text=True, check=False)


def compiled(folder: Path) -> Counter:
    """The program and the plugin, in a folder.

    Raises:
        UnavailableError: an emulator or a compiler is missing.
    """
    missing = [name for name in (CROSS, EMULATOR, "cc") if shutil.which(name) is None]
    if missing:
        raise UnavailableError(f"{', '.join(missing)} not installed (Debian: gcc-aarch64-linux-gnu, qemu-user)")
    built = subprocess.run(
        ["env", f"CC={CROSS}", KERNELS / "build.sh", folder], capture_output=True, text=True, check=False
    )
    if built.returncode:
        raise UnavailableError(f"the kernels could not be compiled for aarch64: {built.stderr[:500]}")
    library = Path(built.stdout.strip())
    program, plugin = folder / "calls", folder / "count.so"
    rpath = f"-Wl,-rpath,{library.parent}"
    flags = ["-std=c11", "-O1", "-Wall", "-Wextra", "-Werror"]
    subprocess.run(
        [CROSS, *flags, "-I", KERNELS / "csrc", FOLDER / "calls.c", library, rpath, "-o", program], check=True
    )
    subprocess.run(["cc", *flags, "-fPIC", "-shared", FOLDER / "count.c", "-o", plugin], check=True)
    return Counter(program, plugin)


def counted() -> Counted:
    """All cases, and their instructions at every level that does something of its own for them.

    Raises:
        UnavailableError: they cannot be counted here.
    """
    with tempfile.TemporaryDirectory() as folder:
        counter = compiled(Path(folder))
        cases = counter.cases()
        counts = {case.name: {level: counter.count(case.name, level) for level in PROCESSORS} for case in cases}
    compiler = subprocess.run([CROSS, "-dumpversion"], capture_output=True, text=True, check=True).stdout.strip()
    return Counted(f"GCC {compiler}", {name: own(found) for name, found in counts.items()}, tuple(cases))


def own(found: Mapping[str, int]) -> dict[str, int]:
    """Without the levels at which nothing is different: what the C library does for a processor is not ours."""
    levels = list(found)
    lower = dict(zip(levels[1:], levels, strict=False))
    return {
        level: count
        for level, count in found.items()
        if level not in lower or abs(count - found[lower[level]]) > SAME * count
    }


def broken(counts: Counts, allowed: Counts) -> Iterator[str]:
    """One line for each count that is above its budget, and for each that has none or is gone."""
    for name in sorted({*counts, *allowed}):
        for level in sorted({*counts.get(name, {}), *allowed.get(name, {})}):
            count, budget = counts.get(name, {}).get(level), allowed.get(name, {}).get(level)
            if count is None or budget is None:
                yield f"{name} at {level}: counted {count}, budget {budget}: write the budgets anew"
            elif count > budget * (1 + ALLOWED):
                yield f"{name} at {level}: {count} instructions, {count / budget - 1:+.1%} against its budget {budget}"


def table(counted: Counted) -> Iterator[str]:
    """Instructions per unit of work, one line for each case."""
    yield f"{f'aarch64 instructions ({counted.compiler}) per':46}" + "".join(f"{level:>10}" for level in PROCESSORS)
    for case in counted.cases:
        per = counted.counts[case.name]
        columns = (f"{per[level] / case.units:10.3f}" if level in per else " " * 10 for level in PROCESSORS)
        yield f"{case.name + ', ' + case.unit:46}" + "".join(columns)
