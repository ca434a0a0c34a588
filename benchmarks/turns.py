"""Taking turns: the servers of a row run side by side and are measured one after the other, in rotating order."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.client import RefusedError
from benchmarks.contenders import CONTENDERS, Setup
from benchmarks.figures import Figures, rotated
from benchmarks.loads import Target
from benchmarks.memory import UnknownError
from benchmarks.peers import NotAvailableError, say
from benchmarks.prompts import Prompts
from benchmarks.report import Outcome
from benchmarks.rows import Row
from benchmarks.servers import ROOT, StartError, running, until_200

START_LIMIT_S, LOAD_LIMIT_S = 300.0, 1800.0
FAILURES = (
    NotAvailableError,
    StartError,
    RefusedError,
    UnknownError,
    OSError,
    EOFError,
    ValueError,
    TimeoutError,
    ExceptionGroup,
)
"""What can go wrong with one server without the others being any the worse for it."""


@dataclass(frozen=True)
class Bench:
    """One run: what is measured, on whom, how often."""

    setup: Setup
    prompts: Prompts
    servers: tuple[str, ...]
    repeat: int
    temperature: float | None

    async def outcomes(self, rows: Sequence[Row]) -> list[Outcome]:
        """Measure all rows. What cannot be had is found out before anything is measured."""
        needed = [name for name in self.servers if any(name in row.servers for row in rows)]
        missing = {name: why for name in needed if (why := self._missing(name))}
        return [await self._outcome(row, missing) for row in rows]

    def _missing(self, name: str) -> str:
        try:
            CONTENDERS[name].launch(self.setup)  # fetches and builds
        except (NotAvailableError, OSError) as error:
            say(f"{name} is not available: {error}")
            return str(error)
        return ""

    async def _outcome(self, row: Row, missing: dict[str, str]) -> Outcome:
        names = [name for name in row.servers if name in self.servers]
        measured = _Measured(
            self, row, Outcome(row, reasons={name: missing[name] for name in names if name in missing})
        )
        async with measured.stack:
            for name in names:
                await measured.attempt(name, measured.start)
            for turn in range(self.repeat):
                for name in rotated(names, turn):
                    await measured.attempt(name, measured.take_turn)
        return measured.outcome


@dataclass
class _Measured:
    """One row while it is measured: `loads` holds what a turn does, by server; `stack` ends the servers."""

    bench: Bench
    row: Row
    outcome: Outcome
    loads: dict[str, Callable[[int], Awaitable[Figures]]] = field(default_factory=dict)
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def attempt(self, name: str, action: Callable[[str], Awaitable[None]]) -> None:
        """Do something with a server, unless something has gone wrong with it before."""
        if name in self.outcome.reasons:
            return
        try:
            await action(name)
        except FAILURES as error:
            self.outcome.reasons[name] = explained(error)
            say(f"{self.row.title}: {name} is not available: {explained(error)}")

    async def start(self, name: str) -> None:
        """Start a server, and let it answer once: the first request pays for what is done lazily."""
        setup, load = self.bench.setup, self.row.load
        if load is None:
            self.loads[name] = lambda _: in_process(setup.model)
            return
        contender = CONTENDERS[name]
        launch = contender.launch(setup)
        server = self.stack.enter_context(running(launch, setup.folder / f"{self.row.key} {name}.log"))
        async with asyncio.timeout(START_LIMIT_S):
            await until_200(server, launch.ready, pause_s=0.2)
        target = Target(contender, server, setup.model, self.bench.prompts, self.bench.temperature)
        await target.ask(self.bench.prompts.text(16, "warm up"), 4)
        self.loads[name] = lambda turn: load(target, turn)

    async def take_turn(self, name: str) -> None:
        """Measure a server once."""
        taken = self.outcome.samples.setdefault(name, [])
        async with asyncio.timeout(LOAD_LIMIT_S):
            figures = await self.loads[name](len(taken))
        taken.append(figures)
        shown = ", ".join(f"{figure} {value:.3g}" for figure, value in figures.items())
        say(f"{self.row.title}, turn {len(taken)} of {self.bench.repeat}, {name}: {shown}")


async def in_process(model: Path) -> Figures:
    """The figures of `benchmarks.in_process`. Raises `NotAvailableError`."""
    command = [sys.executable, "-m", "benchmarks.in_process", str(model)]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=pipe, stderr=pipe)
    try:
        output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    if process.returncode:
        lines = errors.decode(errors="replace").strip().splitlines()
        raise NotAvailableError(lines[-1] if lines else f"exit status {process.returncode}")
    figures: dict[str, float] = json.loads(output)
    return figures


def explained(error: BaseException) -> str:
    """The reason in one line; a group of errors has its first one's."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error).split("\n")[0] or type(error).__name__
