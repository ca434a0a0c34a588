"""The rows of the table: which load, on which servers, with which figures, and what is aimed at."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from benchmarks.contenders import (
    EMPTY_CACHE,
    EXAMPLE_SERVER,
    LLAMA_SERVER,
    OURS,
    PACKAGE_SERVER,
    SPECULATING,
    UNIFIED,
)
from benchmarks.figures import Aim, Figure, Figures
from benchmarks.loads import (
    Clients,
    Target,
    full_cache,
    long_beside_streams,
    shared_prefix,
    speculation,
    type_ahead,
    warm_prefix,
)
from benchmarks.memory import worker_memory

NATIVE = (LLAMA_SERVER, UNIFIED)
EVERYBODY = (OURS, LLAMA_SERVER, UNIFIED, PACKAGE_SERVER, EXAMPLE_SERVER)
BATCHING = (OURS, LLAMA_SERVER, UNIFIED, EXAMPLE_SERVER)
FEW_SLOTS_USED = (OURS, LLAMA_SERVER, PACKAGE_SERVER, EXAMPLE_SERVER)


@dataclass(frozen=True)
class Row:
    """A load, how it is called on the command line and in the table, and who takes part. `quick` ones are short.

    Without a `load` there is no server: `benchmarks.in_process` measures our engine by itself. `ours` is who is
    compared with the others.
    """

    key: str
    title: str
    load: Callable[[Target, int], Awaitable[Figures]] | None
    figures: tuple[Figure, ...]
    servers: tuple[str, ...]
    quick: bool = False
    ours: str = OURS


async def memory(target: Target, turn: int) -> Figures:
    """What the worker weighs after eight clients."""
    await Clients(8)(target, turn)
    log = target.server.log.read_text(errors="replace") if target.server.log else ""
    return worker_memory(target.server.process.pid, target.model, log)


def clients(count: int, *, quick: bool, aims: tuple[Aim, ...], against: tuple[tuple[str, ...], ...] = ()) -> Row:
    """Clients at once with distinct prompts."""
    speed = Figure("throughput" if count > 1 else "decode", "tok/s", "more", aims, against)
    first = Figure("first text", "s", "less")
    name = f"{count} client{'s' if count > 1 else ''}"
    servers = EVERYBODY if count > 4 else FEW_SLOTS_USED
    return Row(name.replace(" ", "-"), name, Clients(count), (speed, first), servers, quick)


AHEAD = (Aim(1.0, NATIVE), Aim(5.0, (PACKAGE_SERVER,)), Aim(1.0, (EXAMPLE_SERVER,)))
OTHERS = (NATIVE, (PACKAGE_SERVER,), (EXAMPLE_SERVER,))

ROWS = (
    clients(1, quick=True, aims=(Aim(0.97, NATIVE),), against=OTHERS[1:]),
    clients(4, quick=False, aims=(), against=OTHERS),
    clients(8, quick=True, aims=AHEAD),
    clients(16, quick=False, aims=AHEAD),
    Row(
        "shared-prefix",
        "8 clients at once, shared system prompt",
        shared_prefix,
        (
            Figure("wall", "s", "less", (Aim(4.0, NATIVE),), ((EXAMPLE_SERVER,),)),
            Figure("first text", "s", "less"),
        ),
        BATCHING,
    ),
    Row(
        "warm-prefix",
        "2,500 tokens, 2,250 of them known",
        warm_prefix,
        (
            Figure("cold", "s", "less"),
            Figure("warm", "s", "less", (), (NATIVE,)),
            Figure("cold / warm", "×", "more", (Aim(8.0),)),
        ),
        FEW_SLOTS_USED,
        quick=True,
    ),
    Row(
        "long-beside-streams",
        "2,500 tokens beside 4 streams",
        long_beside_streams,
        (
            Figure("normal gap p95", "ms", "less"),
            Figure("gap p95 beside", "ms", "less"),
            Figure("gap stretch", "×", "less", (Aim(3.0, at_least=False),)),
            Figure("longest gap beside", "ms", "less"),
            Figure("first text alone", "s", "less"),
            Figure("first text beside", "s", "less"),
            Figure("first text stretch", "×", "less", (Aim(2.0, at_least=False),)),
        ),
        (OURS, LLAMA_SERVER, EXAMPLE_SERVER),
    ),
    Row(
        "full-cache",
        "1 client, prefix cache full",
        full_cache,
        (Figure("decode", "tok/s", "more", (Aim(0.9, (EMPTY_CACHE,)),)),),
        (OURS, EMPTY_CACHE),
    ),
    Row(
        "type-ahead",
        "1,000 tokens typed ahead",
        type_ahead,
        (
            Figure("cold", "s", "less"),
            Figure("typed ahead", "s", "less", (), (NATIVE,)),
            Figure("cold / typed", "×", "more"),
        ),
        (OURS, LLAMA_SERVER),
        quick=True,
    ),
    Row(
        "speculation",
        "1 client, without and with guesses (ngram)",
        speculation,
        (
            Figure("quoting", "tok/s", "more", (), ((OURS,),)),
            Figure("new text", "tok/s", "more", (), ((OURS,),)),
        ),
        (OURS, SPECULATING),
        ours=SPECULATING,
    ),
    Row(
        "step",
        "a step of 8 sequences, in process",
        None,
        (Figure("outside llama_decode", "%", "less", (Aim(3.0, at_least=False),)),),
        (OURS,),
        quick=True,
    ),
    Row(
        "memory",
        "worker memory after 8 clients",
        memory,
        (
            Figure("worker's own", "MB", "less", (Aim(150.0, at_least=False),)),
            Figure("worker in all", "MB", "less"),
            Figure("template renderer", "MB", "less"),
        ),
        (OURS,),
        quick=True,
    ),
)
BY_KEY = {row.key: row for row in ROWS}
