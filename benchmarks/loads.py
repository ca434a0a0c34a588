"""The loads: what clients do to one server, and the figures that come of it.

Each load gets a `Target` and the number of the turn; prompts are drawn by the turn, so every server gets the same ones
and none has seen them before.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

from benchmarks.client import Connection, RefusedError
from benchmarks.completions import Answer, complete
from benchmarks.contenders import OURS, Contender
from benchmarks.figures import Figures, quantile
from benchmarks.prompts import Prompts
from benchmarks.servers import Server

PROMPT, ANSWER = 120, 48
ROUNDS = {1: 4, 4: 2, 8: 2, 16: 1}
"""Requests that each client makes, one after the other, by the number of clients."""
SYSTEM_PROMPT, TAIL, SHORT_ANSWER = 1600, 64, 32
LONG_PROMPT, SEEN_BEFORE, FIRST_WORDS = 2500, 2250, 8
STREAMS, ENDLESS, SETTLED, WATCHED = 4, 2000, 8, 24
TYPED, LAST_WORDS = 1000, 24
CACHE_FILL, CACHE_PIECE = 8192, 1024
QUOTED, QUOTES = 120, 3

T = TypeVar("T")


@dataclass(frozen=True)
class Target:
    """A running server under load. `temperature` is the servers' own default where it is `None`."""

    contender: Contender
    server: Server
    model: Path
    prompts: Prompts
    temperature: float | None = None

    async def ask(self, prompt: str, max_tokens: int, answer: Answer | None = None, **fields: Any) -> Answer:
        """One streamed completion; `fields` are further ones of the request."""
        answer = answer or Answer()
        given = {"temperature": self.temperature} | fields
        try:
            await complete(self.server.url, prompt, max_tokens, answer=answer, **given)
        except EOFError:
            if not self.contender.interrupts:
                raise
        return answer

    async def prefill(self, prompt: str) -> None:
        """Evaluate a prompt and generate nothing. Raises `RefusedError`."""
        if self.contender.prefill is None:
            raise RefusedError(f"{self.contender.name} cannot evaluate a prompt in advance")
        async with Connection(self.server.url) as connection:
            status, body = await connection.exchange(self.contender.prefill(prompt))
        if status != 200:
            raise RefusedError(f"status {status}: {body[:300].decode(errors='replace')}")


class Clients:
    """Clients that arrive at once, each with prompts of its own."""

    def __init__(self, count: int) -> None:
        self.count = count

    async def __call__(self, target: Target, turn: int) -> Figures:
        """Tokens a second of all together, and how long the first text took."""
        began = time.perf_counter()
        rounds = await _at_once([self._client(target, turn, client) for client in range(self.count)])
        wall = time.perf_counter() - began
        answers = [answer for answers in rounds for answer in answers]
        figures = {
            "throughput": sum(answer.tokens for answer in answers) / wall,
            # An interrupted answer may have no text at all.
            "first text": median([answer.first_s for answer in answers if answer.arrivals] or [wall]),
            "prompt tokens": median(answer.usage.get("prompt_tokens", PROMPT) for answer in answers),
        }
        return figures | ({"decode": median(answer.decode_rate for answer in answers)} if self.count == 1 else {})

    async def _client(self, target: Target, turn: int, client: int) -> list[Answer]:
        rounds = range(ROUNDS.get(self.count, 1))
        prompts = [target.prompts.text(PROMPT, self.count, turn, client, number) for number in rounds]
        return [await target.ask(prompt, ANSWER) for prompt in prompts]


async def shared_prefix(target: Target, turn: int) -> Figures:
    """Eight clients at once with a system prompt that they have in common and nobody has seen before."""
    system = target.prompts.text(SYSTEM_PROMPT, "system", turn)
    prompts = [system + target.prompts.text(TAIL, "tail", turn, client) for client in range(8)]
    began = time.perf_counter()
    answers = await _at_once([target.ask(prompt, SHORT_ANSWER) for prompt in prompts])
    return {
        "wall": time.perf_counter() - began,
        "first text": median(answer.first_s for answer in answers),
        "tokens": float(sum(answer.tokens for answer in answers)),
    }


async def warm_prefix(target: Target, turn: int) -> Figures:
    """A long prompt that nobody has seen, then another one that begins with nine tenths of it."""
    known = target.prompts.text(SEEN_BEFORE, "known", turn)
    endings = [target.prompts.text(LONG_PROMPT - SEEN_BEFORE, "ending", turn, number) for number in (0, 1)]
    cold = await target.ask(known + endings[0], FIRST_WORDS)
    warm = await target.ask(known + endings[1], FIRST_WORDS)
    return {"cold": cold.first_s, "warm": warm.first_s, "cold / warm": cold.first_s / warm.first_s}


async def long_beside_streams(target: Target, turn: int) -> Figures:
    """A long prompt alone, and another one while four streams run."""
    alone = await target.ask(target.prompts.text(LONG_PROMPT, "alone", turn), FIRST_WORDS)
    async with _streams(target, turn) as streams:
        await _until_each_has(streams, SETTLED)
        began = time.perf_counter()
        await _until_each_has(streams, SETTLED + WATCHED)
        normal = _gaps(streams, began, time.perf_counter())
        beside = await target.ask(target.prompts.text(LONG_PROMPT, "beside", turn), FIRST_WORDS)
        until = beside.arrivals[0] if beside.arrivals else beside.ended
        disturbed, longest = (_gaps(streams, beside.began, until, share) for share in (0.95, 1.0))
    return {
        "normal gap p95": normal * 1e3,
        "gap p95 beside": disturbed * 1e3,
        "gap stretch": disturbed / normal,
        "longest gap beside": longest * 1e3,
        "first text alone": alone.first_s,
        "first text beside": beside.first_s,
        "first text stretch": beside.first_s / alone.first_s,
    }


async def type_ahead(target: Target, turn: int) -> Figures:
    """A prompt that is evaluated while it is typed, against one that is sent when it is complete."""
    cold = await target.ask(target.prompts.text(TYPED + LAST_WORDS, "untyped", turn), FIRST_WORDS)
    typed = target.prompts.text(TYPED, "typed", turn)
    await target.prefill(typed)
    ready = await target.ask(typed + target.prompts.text(LAST_WORDS, "enter", turn), FIRST_WORDS)
    return {"cold": cold.first_s, "typed ahead": ready.first_s, "cold / typed": cold.first_s / ready.first_s}


async def full_cache(target: Target, turn: int) -> Figures:
    """One client's decode speed, beside what other prompts have left in the cache."""
    if turn == 0 and target.contender.name == OURS:
        for number in range(CACHE_FILL // CACHE_PIECE):
            await target.ask(target.prompts.text(CACHE_PIECE, "fill", number), 1)
    return await Clients(1)(target, turn)


async def speculation(target: Target, turn: int) -> Figures:
    """One client's decode speed where the answer quotes the prompt, and where it says something new.

    Random weights quote nothing, so a constraint holds the answer to the text.
    """
    new, quoting, prompts = [], [], target.prompts.unambiguous()
    for number in range(QUOTES):
        passage = prompts.text(QUOTED, "passage", turn, number)
        new.append(await target.ask(passage, QUOTED))
        quoting.append(await target.ask(passage, QUOTED, guided_choice=[passage]))
    return {
        "new text": median(answer.decode_rate for answer in new),
        "quoting": median(answer.decode_rate for answer in quoting),
    }


async def _at_once(clients: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """What all of them return; if one fails, the others end, too."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(client) for client in clients]
    return [task.result() for task in tasks]


@asynccontextmanager
async def _streams(target: Target, turn: int) -> AsyncGenerator[list[Answer]]:
    """Streams that run as long as the block does; if one fails, so does the block."""
    answers = [Answer() for _ in range(STREAMS)]
    async with asyncio.TaskGroup() as group:
        running = [
            group.create_task(target.ask(target.prompts.text(PROMPT, "stream", turn, number), ENDLESS, answer))
            for number, answer in enumerate(answers)
        ]
        yield answers
        for task in running:
            task.cancel()


async def _until_each_has(streams: Sequence[Answer], pieces: int) -> None:
    while any(len(stream.arrivals) < pieces for stream in streams):
        await asyncio.sleep(0.005)


def _gaps(streams: Sequence[Answer], start: float, end: float, share: float = 0.95) -> float:
    """What `share` of the gaps that end between two moments do not exceed, in seconds."""
    gaps = [gap for stream in streams for gap in stream.gaps(start, end)]
    if not gaps:
        return end - start  # nothing came at all: that was the gap
    return quantile(gaps, share)
