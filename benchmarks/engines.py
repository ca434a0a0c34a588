"""Our server beside its peers: `./run.sh bench`, or `python -m benchmarks.engines`.

All servers of a row run at the same time and are measured one after the other, turn by turn and in rotating order, on
the same model, prompts and token counts. What counts is the ratios: absolute times on a shared machine mean little.
Progress goes to standard error, the table to standard output, and everything that was measured into a JSON file.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from app.settings import Settings, SettingsError, Variables
from backends.machine import physical_cores
from benchmarks import sdist
from benchmarks.contenders import CHOICES, OURS, VARIANTS, Setup
from benchmarks.peers import Peers, say
from benchmarks.prompts import prompts_for
from benchmarks.random_model import Shape, cached
from benchmarks.report import Outcome, document, table
from benchmarks.rows import BY_KEY, ROWS
from benchmarks.turns import Bench

QUICK_PEER = "llama-server"


def parsed(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; `rows` are rows, `servers` names of contenders. Ends the process if it cannot be used."""
    parser = argparse.ArgumentParser(prog="./run.sh bench", description="Our server beside its peers, in one table.")
    parser.add_argument("--quick", action="store_true", help="short rows, one peer and two turns")
    parser.add_argument("--rows", metavar="ROW,…", help=f"of {', '.join(BY_KEY)} (default: all)")
    parser.add_argument("--servers", metavar="PEER,…", help=f"of {', '.join(CHOICES)} (default: all), or none")
    parser.add_argument("--model", type=Path, help="a GGUF file (default: random weights, 0.5 billion parameters)")
    parser.add_argument("--repeat", type=int, help="turns (default: 3)")
    parser.add_argument("--slots", type=int, default=8, help="sequences at once, for all servers (default: 8)")
    parser.add_argument("--temperature", type=float, help="for all requests (default: each server's own sampling)")
    parser.add_argument("--json", type=Path, help="where to write what was measured (default: the cache folder)")
    parser.add_argument("--folder", type=Path, default=Path(), help="what relative paths count from")
    options = parser.parse_args(arguments)
    try:
        _complete(options)
    except ValueError as error:
        parser.error(str(error))
    return options


def _complete(options: argparse.Namespace) -> None:
    """Put defaults and values in the place of names. Raises `ValueError` naming the option."""
    short = [row.key for row in ROWS if row.quick or not options.quick]
    options.rows = [BY_KEY[key] for key in chosen("--rows", options.rows, BY_KEY, short)]
    usual = [QUICK_PEER] if options.quick else list(CHOICES)
    peers = [] if options.servers == "none" else chosen("--servers", options.servers, CHOICES, usual)
    options.servers = (OURS, *VARIANTS, *(name for peer in peers for name in CHOICES[peer]))
    if options.repeat is None:
        options.repeat = 2 if options.quick else 3
    for name in ("repeat", "slots"):
        if getattr(options, name) < 1:
            raise ValueError(f"--{name} is {getattr(options, name)}; it must be at least 1")
    for name in ("model", "json"):
        if path := getattr(options, name):
            setattr(options, name, (options.folder / path).absolute())
    if options.model and not options.model.is_file():
        raise ValueError(f"--model: {options.model} is not a file")


def chosen(option: str, given: str | None, known: Iterable[str], default: list[str]) -> list[str]:
    """The names in a comma-separated list. Raises `ValueError` naming the option and what does not exist."""
    names = default if given is None else [name.strip() for name in given.split(",") if name.strip()]
    strange = [name for name in names if name not in known]
    if strange or not names:
        raise ValueError(f"{option}: there is no '{', '.join(strange)}'; choose of {', '.join(known)}")
    return names


def settings() -> tuple[Path, tuple[str, ...]]:
    """The cache folder, and the user's options for CMake: the peers are built with the same ones."""
    variables = Variables.read(env_file=str(sdist.ROOT / ".env"))
    try:
        cache = Path(Settings.from_variables(variables).cache_dir)
    except SettingsError as error:
        sys.exit(f"error: {error}")
    return cache.absolute(), tuple(shlex.split(variables.values.get("CMAKE_ARGS", "")))


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    load = os.getloadavg()[0]
    if load > physical_cores() / 4:
        say(f"other programs keep this machine busy (load {load:.1f}): expect the ratios to scatter")
    return {
        "system": platform.platform(),
        "python": platform.python_version(),
        "cores": physical_cores(),
        "load_before": load,
        "llama_cpp_python": sdist.version(),
    }


async def measured(bench: Bench, options: argparse.Namespace) -> list[Outcome]:
    """All rows; SIGTERM ends the servers as Ctrl-C does."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await bench.outcomes(options.rows)


def written(path: Path, found: dict[str, Any]) -> Path:
    """Write the JSON document."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n")
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write; 1 if something could not be measured. Aims that are not met are no failure."""
    options = parsed(arguments)
    cache, cmake_options = settings()
    facts = machine()
    model = options.model or cached(cache / "bench", Shape())
    folder = Path(tempfile.mkdtemp(prefix="jarvis-bench-"))
    setup = Setup(model, physical_cores(), options.slots, folder, Peers(cache, cmake_options))
    bench = Bench(setup, prompts_for(model), options.servers, options.repeat, options.temperature)
    try:
        outcomes = asyncio.run(measured(bench, options))
    except (KeyboardInterrupt, asyncio.CancelledError):
        say("interrupted")
        return 130
    print(table(outcomes, [name for name in options.servers if name not in VARIANTS]))
    facts |= {"model": str(model), "slots": options.slots, "temperature": options.temperature}
    path = options.json or cache / "bench" / f"engines-{time.strftime('%Y%m%d-%H%M%S')}.json"
    print(f"\n{written(path, document(outcomes, **facts))}")
    if any(outcome.reasons for outcome in outcomes):
        say(f"the servers' logs are in {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
