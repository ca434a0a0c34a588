"""The same server, model and requests with either engine:
`python -m benchmarks.switching [--model MODEL.gguf] [--turns N] [--prompt N] [--set JARVIS_…=VALUE] [--json FILE]`.

Start, memory, one client and eight at once, and how soon the engine is free after a client has left. Both servers run
side by side and take turns; medians over the turns are printed. vLLM must be installed (`./run.sh test-vllm` does it,
or a start with JARVIS_INFERENCE_ENGINE=vllm). Linux only (memory is read from /proc).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from app.settings.sections import BUNDLED_MODEL
from benchmarks.client import Connection
from benchmarks.completions import Answer, complete, completion_request, events
from benchmarks.figures import Figures, middle, rotated
from benchmarks.memory import children
from benchmarks.prompts import Prompts, prompts_for
from benchmarks.servers import SERVE, Launch, Server, running, until_200

ENGINES = ("llama_cpp", "vllm")
CLIENTS = 8
ANSWER = 64
ENDLESS = 1500
BEFORE_LEAVING = 16
"""Pieces of text that a client reads before it leaves."""
ONE_SEQUENCE = {"JARVIS_N_PARALLEL": "1", "JARVIS_VLLM_MAX_NUM_SEQS": "1"}


@dataclass(frozen=True)
class Subject:
    """A running server with one of the engines."""

    engine: str
    server: Server
    prompts: Prompts
    prompt_tokens: int

    def prompt(self, *key: object) -> str:
        """A text that nobody has seen; equal keys give equal texts."""
        return self.prompts.text(self.prompt_tokens, *key)

    async def ask(self, *key: object, tokens: int = ANSWER) -> Answer:
        """One greedy completion to a prompt that nobody has seen."""
        return await complete(self.server.url, self.prompt(*key), tokens, temperature=0)


@dataclass(frozen=True)
class Load:
    """What is measured: a model, how often, prompts of so many tokens, and variables for both servers."""

    model: Path
    turns: int
    prompt_tokens: int
    variables: Mapping[str, str]


@asynccontextmanager
async def subjects(load: Load, **variables: str) -> AsyncGenerator[list[tuple[Subject, float]]]:
    """A ready server for each engine, with the seconds that its start took; started one after the other."""
    async with AsyncExitStack() as stack:
        found = []
        for engine in ENGINES:
            given = {"JARVIS_INFERENCE_ENGINE": engine, "JARVIS_MODEL_NAME": str(load.model), "JARVIS_PORT": "0"}
            launch = Launch(
                SERVE, "/health/ready", variables={**given, "JARVIS_LOG_LEVEL": "error", **variables, **load.variables}
            )
            server = stack.enter_context(running(launch))
            seconds = await until_200(server, launch.ready)
            found.append((Subject(engine, server, prompts_for(load.model), load.prompt_tokens), seconds))
        yield found


async def one_and_eight(subject: Subject, turn: int) -> Figures:
    """One client alone, then eight at once, all with as many tokens."""
    alone = await subject.ask("alone", turn)
    began = time.perf_counter()
    together = await asyncio.gather(*(subject.ask("together", turn, client) for client in range(CLIENTS)))
    wall = time.perf_counter() - began
    return {
        "1 client, tok/s": alone.tokens / (alone.ended - alone.began),
        "1 client, first text, ms": alone.first_s * 1e3,
        "8 clients, tok/s": sum(answer.tokens for answer in together) / wall,
        "8 clients, first text, ms": median(answer.first_s for answer in together) * 1e3,
        "time of 8 at once / time of 1": wall / (alone.ended - alone.began),
    }


async def leaving(subject: Subject, turn: int) -> Figures:
    """A client leaves in the middle of its answer, and another one waits for the only place.

    What that one waits longer for its first text than usual is the time until the engine was free.
    """
    usual = await subject.ask("usual", turn, tokens=1)
    request = completion_request(subject.prompt("leaving", turn), ENDLESS, temperature=0)
    async with Connection(subject.server.url) as connection, aclosing(events(connection, request)) as stream:
        pieces = 0
        async for event in stream:
            pieces += any(choice.get("text") for choice in event.get("choices", ()))
            if pieces == BEFORE_LEAVING:
                break
    waiting = await subject.ask("waiting", turn, tokens=1)
    return {"abort to engine idle, ms": max(0.0, waiting.first_s - usual.first_s) * 1e3}


def memory_mb(server: Server) -> float:
    """Resident memory of all that the server has started, in MB (10⁶ bytes)."""
    return sum(_rss_kb(pid) for pid in _below(server.process.pid)) * 1024 / 1e6


def _below(pid: int) -> list[int]:
    return [below for child in children(pid) for below in (child, *_below(child))]


def _rss_kb(pid: int) -> int:
    """The share of its memory that is a process's own: what several have in common is divided among them."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


async def measure(load: Load) -> dict[str, list[Figures]]:
    """All figures of all turns, by engine. The first turn of each load is not counted."""
    samples: dict[str, list[Figures]] = {engine: [] for engine in ENGINES}
    async with subjects(load) as found:
        for turn in range(load.turns + 1):
            for engine in rotated(ENGINES, turn):
                subject = next(subject for subject, _ in found if subject.engine == engine)
                figures = await one_and_eight(subject, turn)
                samples[engine] += [figures] if turn else []
        for subject, seconds in found:
            samples[subject.engine].append({"start, s": seconds, "memory, MB": memory_mb(subject.server)})
    async with subjects(load, **ONE_SEQUENCE) as found:
        for turn in range(load.turns + 1):
            for subject, _ in found:
                figures = await leaving(subject, turn)
                samples[subject.engine] += [figures] if turn else []
    return samples


def table(samples: Mapping[str, Sequence[Figures]]) -> str:
    """The medians as a Markdown table."""
    names = list(dict.fromkeys(name for turns in samples.values() for turn in turns for name in turn))
    rows = [f"| median of the turns | {' | '.join(samples)} |", f"|---|{'---:|' * len(samples)}"]
    for name in names:
        values = [middle(name, turns) for turns in samples.values()]
        rows.append(f"| {name} | {' | '.join(map(_shown, values))} |")
    return "\n".join(rows)


def _shown(value: float | None) -> str:
    """Three digits, however large it is."""
    return "–" if value is None else f"{float(f'{value:.3g}'):,g}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=BUNDLED_MODEL, help="a GGUF file (default: the bundled model)")
    parser.add_argument("--turns", type=int, default=5, help="how often each load is measured (default: 5)")
    parser.add_argument("--prompt", type=int, default=64, help="tokens of each prompt (default: 64)")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a variable for both servers")
    parser.add_argument("--json", type=Path, help="where all samples go")
    given = parser.parse_args()
    variables = dict(item.partition("=")[::2] for item in given.set)
    samples = asyncio.run(measure(Load(given.model.absolute(), given.turns, given.prompt, variables)))
    print(table(samples))
    if given.json:
        given.json.write_text(json.dumps(samples, indent=2))


if __name__ == "__main__":
    main()
