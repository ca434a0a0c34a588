"""The servers that are measured: the edge with the stub engine, and the floor under it, each in its own process."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Server:
    """A running server."""

    url: str
    process: subprocess.Popen[str]
    started: float

    def rss_mb(self) -> float:
        """Resident memory of the process itself, in MB (10⁶ bytes)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) * 1024 / 1e6


@contextmanager
def edge(**variables: str) -> Iterator[Server]:
    """The edge with the stub engine on a free port."""
    stub = {"JARVIS_INFERENCE_ENGINE": "stub", "JARVIS_PORT": "0", "JARVIS_LOG_LEVEL": "warning"}
    with _running([sys.executable, "-m", "app", "serve"], stub | variables) as server:
        yield server


@contextmanager
def floor() -> Iterator[Server]:
    """uvicorn with an application that answers everything with one fixed body: what HTTP alone costs."""
    with _running([sys.executable, "-m", "benchmarks.floor"], {}) as server:
        yield server


@contextmanager
def _running(command: list[str], variables: dict[str, str]) -> Iterator[Server]:
    """The process's first line of output ends in its URL."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("JARVIS_")}
    environ = kept | {"PYTHONPATH": str(ROOT)} | variables
    started = time.perf_counter()
    with subprocess.Popen(command, env=environ, cwd="/", stdout=subprocess.PIPE, text=True) as process:  # no .env there
        try:
            assert process.stdout is not None
            url = process.stdout.readline().split()[-1]
            yield Server(url, process, started)
        finally:
            process.terminate()
