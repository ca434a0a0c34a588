import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from backends.base import ModelUnavailableError
from backends.worker.client import WorkerEngine, launch
from backends.worker.process import LineSplitter, WorkerProcess
from tests.backends.worker.processes import alive, stub_config, until

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


async def spawn(python: str, environment: Mapping[str, str]) -> WorkerProcess:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        return await WorkerProcess.spawn("x", python=python, environment=environment, descriptor=theirs.fileno())


def children() -> set[str]:
    """The processes that this one has started and not reaped."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it may end while it is looked at
            if stat.read_text().rpartition(")")[2].split()[1] == str(os.getpid()):
                found.add(stat.parent.name)
    return found


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_lines_are_found_however_the_bytes_are_cut(chunk: int) -> None:
    data, splitter = "een\n\ntwé\r\ndrie".encode(), LineSplitter()
    lines = [line for start in range(0, len(data), chunk) for line in splitter.feed(data[start : start + chunk])]
    assert [*lines, *splitter.flush()] == ["een", "twé", "drie"]


def test_an_endless_line_is_cut() -> None:
    splitter = LineSplitter()
    lines = [line for _ in range(100) for line in splitter.feed(b"x" * 1000)]
    assert len(lines) >= 15 and all(len(line) <= 4096 for line in lines)


@pytest.mark.parametrize("python", ["/nonexistent/python", "/", "/etc/passwd", "/etc/passwd/python"])
async def test_an_interpreter_that_cannot_run_is_the_operators_business(python: str) -> None:
    with pytest.raises(ModelUnavailableError, match=python):
        await spawn(python, {})


@linux
async def test_the_worker_sees_only_the_environment_that_it_is_given() -> None:
    worker = await launch(stub_config(), python=sys.executable, environment={"OMP_NUM_THREADS": "2", "LANG": "C"})
    seen = Path(f"/proc/{worker.pid}/environ").read_bytes().split(b"\0")
    await worker.close()
    assert sorted(seen) == [b"", b"LANG=C", b"OMP_NUM_THREADS=2"]


@linux
async def test_the_worker_leads_its_own_session_and_is_the_first_to_go_when_memory_runs_out(
    worker: WorkerEngine,
) -> None:
    assert os.getsid(worker.pid) == os.getpgid(worker.pid) == worker.pid
    assert int(Path(f"/proc/{worker.pid}/oom_score_adj").read_text()) >= 500


async def test_what_the_worker_prints_becomes_log_records(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    process = await spawn(script(tmp_path / "python", "echo native; echo WARNING:llama:full >&2; exit 3"), {})
    await process.stop(10, 10)
    records = [(record.name, record.levelname, record.message) for record in caplog.records if "x" in record.name]
    assert records == [("jarvis.worker.x", "INFO", "native"), ("jarvis.worker.x", "WARNING", "llama:full")]
    assert (process.exit_reason, process.last_lines) == ("exited with code 3", "native\nWARNING:llama:full")


async def test_a_worker_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    process = await spawn(script(tmp_path / "python", "trap '' TERM; echo ready; while :; do sleep 1; done"), {})
    await until(lambda: process.last_lines == "ready")
    await process.stop(0, 0.1)
    assert process.exit_reason == "was ended by SIGKILL"


@pytest.mark.parametrize("kill", [False, True])
async def test_what_a_worker_started_ends_with_it(tmp_path: Path, kill: bool) -> None:
    note = tmp_path / "pid"
    python = script(tmp_path / "python", f'/bin/sleep 600 & echo $! > {note}; exec {sys.executable} "$@"')
    worker = await launch(stub_config(), python=python, environment={})
    grandchild = int(note.read_text())
    assert alive(grandchild)
    if kill:
        os.kill(worker.pid, signal.SIGKILL)
        await worker.wait_closed()
    await worker.close()
    await until(lambda: not alive(grandchild))
    assert not alive(worker.pid)


@linux
@pytest.mark.parametrize("patience_s", [0, 0.001, 0.003, 0.01, 0.05, 0.2])
async def test_a_launch_cancelled_at_any_time_leaves_nothing(tmp_path: Path, patience_s: float) -> None:
    python = script(tmp_path / "python", f'exec {sys.executable} "$@"')
    before, descriptors = children(), os.listdir("/proc/self/fd")
    launching = asyncio.ensure_future(launch(stub_config(load_s=60), python=python, environment={}))
    await asyncio.wait([launching], timeout=patience_s)
    launching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await launching
    assert children() <= before
    await until(lambda: len(os.listdir("/proc/self/fd")) == len(descriptors))
