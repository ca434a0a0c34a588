"""What the proxy adds to an engine: `python -m benchmarks.overhead [--seconds N] [--json FILE]`.

The engine is the stub, so every millisecond is the proxy's own: HTTP, the way to the worker process and back. Added
latency is measured against `benchmarks.floor`, request by request in turn, because absolute times on a shared machine
mean little. Linux only (memory is read from /proc).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path

from benchmarks.client import Connection, chat_request
from benchmarks.servers import Server, edge, floor, until_200

Figures = dict[str, float]
ONE_TOKEN = chat_request({"tokens": 1})
ENDLESS = chat_request({"tokens": 1_000_000, "delay_ms": 10}, stream=True)
TOKENS_PER_S = 10
WARM_UP = 100
"""Requests that are not counted."""


async def start_and_idle(_: float) -> Figures:
    """Start to live, start to ready, and what an idle edge weighs."""
    with edge() as server:
        live = await until_200(server, "/health/live")
        ready = await until_200(server, "/health/ready")
        return {"start to live, s": live, "start to ready, s": ready, "idle edge RSS, MB": server.rss_mb()}


async def added_latency(seconds: float) -> Figures:
    """One plain request after the other, edge and floor in turn."""
    with edge() as server, floor() as bottom:
        await until_200(server, "/health/ready")
        async with Connection(server.url) as ours, Connection(bottom.url) as theirs:
            for connection in (ours, theirs) * WARM_UP:
                await timed(connection)
            times = []
            end = time.perf_counter() + seconds
            while time.perf_counter() < end:
                times.append((await timed(ours), await timed(theirs)))
    with_proxy, without = zip(*times, strict=True)
    return {
        "floor p50, ms": quantile(without, 0.5),
        "added p50, ms": quantile(with_proxy, 0.5) - quantile(without, 0.5),
        "added p99, ms": quantile(with_proxy, 0.99) - quantile(without, 0.99),
    }


async def timed(connection: Connection) -> float:
    """Milliseconds of one request."""
    began = time.perf_counter()
    assert await connection.ask(ONE_TOKEN) == 200
    return (time.perf_counter() - began) * 1e3


async def throughput(seconds: float) -> Figures:
    """Plain requests from several connections at once."""
    figures: Figures = {}
    with edge() as server:
        await until_200(server, "/health/ready")
        for connections in (4, 16):
            end = time.perf_counter() + seconds
            done = await asyncio.gather(*(asks_until(server, end) for _ in range(connections)))
            figures[f"{connections} connections, req/s"] = sum(done) / seconds
    return figures


async def asks_until(server: Server, end: float) -> int:
    """How many requests one connection gets answered before `end`."""
    done = 0
    async with Connection(server.url) as connection:
        while time.perf_counter() < end:
            assert await connection.ask(ONE_TOKEN) == 200
            done += 1
    return done


async def many_streams(seconds: float, streams: int = 500) -> Figures:
    """Streams of 10 tokens a second, all at once: memory, and how much later than due the tokens come."""
    with edge() as server:
        await until_200(server, "/health/ready")
        tokens = max(int(seconds * TOKENS_PER_S), 10)
        running = [asyncio.create_task(gaps_of_one_stream(server, tokens)) for _ in range(streams)]
        await asyncio.sleep(seconds / 2)
        rss = server.rss_mb()
        gaps = [gap for gaps in await asyncio.gather(*running) for gap in gaps]
    added = [(gap - 1 / TOKENS_PER_S) * 1e3 for gap in gaps]
    return {
        f"{streams} streams, edge RSS, MB": rss,
        f"{streams} streams, added gap p50, ms": quantile(added, 0.5),
        f"{streams} streams, added gap p99, ms": quantile(added, 0.99),
    }


async def gaps_of_one_stream(server: Server, tokens: int) -> list[float]:
    """Seconds between the content chunks of one stream."""
    request = chat_request({"tokens": tokens, "delay_ms": 1000 // TOKENS_PER_S}, stream=True)
    arrivals = []
    async with Connection(server.url) as connection:
        async for chunk in connection.stream(request):
            if b'"content":"' in chunk:
                arrivals.append(time.perf_counter())
    assert len(arrivals) == tokens, (len(arrivals), tokens)
    return [later - earlier for earlier, later in zip(arrivals, arrivals[1:], strict=False)]


async def cancellation(seconds: float) -> Figures:
    """From a client's disconnection to the moment when its place is free: the server has one place only."""
    with edge(JARVIS_MAX_QUEUE="1") as server:
        await until_200(server, "/health/ready")
        times = []
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            times.append(await cancel_once(server))
    return {"cancel p50, ms": quantile(times, 0.5), "cancel p99, ms": quantile(times, 0.99)}


async def cancel_once(server: Server) -> float:
    """Milliseconds from leaving a running stream to the first request that is let in."""
    async with Connection(server.url) as connection, Connection(server.url) as next_one:
        async with aclosing(connection.stream(ENDLESS)) as chunks:
            await anext(chunks)
        assert await next_one.ask(ONE_TOKEN) == 503, "one place, and it is taken"
        await connection.__aexit__(None, None, None)
        left = time.perf_counter()
        while await next_one.ask(ONE_TOKEN) != 200:
            await asyncio.sleep(0.0005)
        return (time.perf_counter() - left) * 1e3


def quantile(values: Sequence[float], share: float) -> float:
    """The value that `share` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


MEASURES = (start_and_idle, added_latency, throughput, many_streams, cancellation)


async def measure(seconds: float) -> Figures:
    """All figures, printed as they come."""
    figures: Figures = {}
    for measured in MEASURES:
        for name, value in (await measured(seconds)).items():
            figures[name] = round(value, 2)
            print(f"{name:<40}{value:>12.2f}", flush=True)
    return figures


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description="What the proxy adds to an engine.")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of each measurement")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    figures = asyncio.run(measure(arguments.seconds))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
