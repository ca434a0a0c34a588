"""A real server for a test: `python -m app serve` in a process of its own, on a free port, with the given variables.

    with serving(JARVIS_MODEL_ALIAS="parrot") as server:
        httpx.get(f"{server.url}/v1/models")

The engine is the stub unless JARVIS_INFERENCE_ENGINE says otherwise. Neither the tester's environment nor a `.env` file
reaches the server.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[1]
PASSED_ON = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH", "OMP_NUM_THREADS")
PATIENCE_S = 60.0
"""How long anything may take before the test gives up; no statement about speed."""


@dataclass(frozen=True)
class Server:
    """A running server. `log` is the file of its standard error."""

    url: str
    process: subprocess.Popen[str]
    log: Path

    @property
    def pid(self) -> int:
        """The edge's process id."""
        return self.process.pid

    def stop(self) -> int:
        """Ask it to end (SIGTERM), wait for it and return its exit status; harmless when it has ended."""
        self.process.terminate()
        try:
            self.process.communicate(timeout=PATIENCE_S)
            return self.process.returncode
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    def wait_for(self, path: str, patience_s: float = PATIENCE_S) -> None:
        """Ask for `path` until it answers 200."""
        give_up = time.monotonic() + patience_s
        while not self._answers(path):
            assert self.process.poll() is None, f"the server has ended:\n{self.log.read_text()}"
            assert time.monotonic() < give_up, f"{path} is not 200:\n{self.log.read_text()}"
            time.sleep(0.02)

    def _answers(self, path: str) -> bool:
        try:
            return httpx.get(self.url + path, timeout=PATIENCE_S).status_code == 200
        except httpx.TransportError:
            return False


@contextmanager
def serving(*, ready: bool = True, patience_s: float = PATIENCE_S, **variables: str) -> Iterator[Server]:
    """A server with these variables, live and (unless `ready` is false) with its model loaded; ended afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        server = start(Path(folder), log, variables)
        try:
            server.wait_for("/health/ready" if ready else "/health/live", patience_s)
            yield server
        finally:
            server.stop()


def start(folder: Path, log: Path, variables: dict[str, str]) -> Server:
    """Start a server in `folder` and read its address from the banner."""
    process = launch(folder, log, variables)
    assert process.stdout is not None
    banner = process.stdout.readline()
    address = re.search(r"http://\S+", banner)
    if address is None:
        process.kill()
        process.wait()
        raise AssertionError(f"no address in {banner!r}:\n{log.read_text()}")
    return Server(address.group(), process, log)


def launch(folder: Path, log: Path, variables: dict[str, str]) -> subprocess.Popen[str]:
    """`python -m app serve` in `folder`, standard output on a pipe, standard error in the file `log`."""
    with log.open("w") as errors:
        return subprocess.Popen(
            [sys.executable, "-m", "app", "serve"],
            env=environment(variables),
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )


def environment(variables: dict[str, str]) -> dict[str, str]:
    """The variables that a test's server gets: the given ones over a stub on a free port, and what Python needs."""
    passed_on = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    defaults = {"PYTHONPATH": str(ROOT), "JARVIS_PORT": "0", "JARVIS_INFERENCE_ENGINE": "stub"}
    return passed_on | defaults | variables
