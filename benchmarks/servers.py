"""Servers in processes of their own, on free loopback ports, ended by their process id.

A server that prints where it listens (ours does) is asked for port 0; the others are given a port that is free.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.client import Connection, get_request

ROOT = Path(__file__).resolve().parents[1]
SERVE = (sys.executable, "-m", "app", "serve")
PATIENCE_S = 20.0
"""How long a server may take to end before it is killed."""


class StartError(Exception):
    """A server did not start; the message ends with what it said last."""


@dataclass(frozen=True)
class Server:
    """A running server. `log` is where its output goes, if that is not the terminal."""

    url: str
    process: subprocess.Popen[str]
    started: float
    log: Path | None = None

    def rss_mb(self) -> float:
        """Resident memory of the process itself, in MB (10⁶ bytes)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) * 1024 / 1e6


@dataclass(frozen=True)
class Launch:
    """How a server is started. Without a `url`, the first line that it prints ends in it; `ready` is 200 in time."""

    command: Sequence[str]
    ready: str
    url: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def edge(**variables: str) -> Iterator[Server]:
    """The edge with the stub engine on a free port."""
    stub = {"JARVIS_INFERENCE_ENGINE": "stub", "JARVIS_PORT": "0", "JARVIS_LOG_LEVEL": "warning"}
    with running(Launch(SERVE, "/health/ready", variables=stub | variables)) as server:
        yield server


@contextmanager
def floor() -> Iterator[Server]:
    """uvicorn with an application that answers everything with one fixed body: what HTTP alone costs."""
    with running(Launch([sys.executable, "-m", "benchmarks.floor"], "/")) as server:
        yield server


@contextmanager
def running(launch: Launch, log: Path | None = None) -> Iterator[Server]:
    """Start a server and end it afterwards; its output goes to `log`. It may not be ready yet.

    Raises:
        StartError: it ended before it said where it listens.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("JARVIS_")}
    environ = kept | {"PYTHONPATH": str(ROOT)} | dict(launch.variables)
    errors = log.open("w") if log else None
    output = errors if launch.url else subprocess.PIPE
    started = time.perf_counter()
    process = subprocess.Popen(launch.command, env=environ, cwd="/", stdout=output, stderr=errors, text=True)  # no .env
    try:
        yield Server(launch.url or _announced(process, log), process, started, log)
    finally:
        _end(process)
        if errors:
            errors.close()


async def until_200(server: Server, path: str, pause_s: float = 0.005) -> float:
    """Seconds from the start of the process to the first 200 for `path`, asked for again and again.

    Raises:
        StartError: the server has ended.
    """
    while server.process.poll() is None:
        try:
            async with Connection(server.url) as connection:
                if await connection.ask(get_request(path)) == 200:
                    return time.perf_counter() - server.started
        except (OSError, EOFError):
            pass
        await asyncio.sleep(pause_s)
    raise StartError(f"the server has ended: {last_words(server.log)}")


def free_port() -> int:
    """A port of the loopback address that nobody listens on at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def last_words(log: Path | None) -> str:
    """The last line of a log."""
    lines = log.read_text(errors="replace").split("\n") if log else []
    return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "it said nothing")


def _announced(process: subprocess.Popen[str], log: Path | None) -> str:
    assert process.stdout is not None
    words = process.stdout.readline().split()
    if not words:
        process.wait()
        raise StartError(f"the server has ended: {last_words(log)}")
    return words[-1]


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.communicate(timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
