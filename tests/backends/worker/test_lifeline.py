"""What a worker's own processes come to when the worker is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.backends.worker.processes import alive, until

ROOT = Path(__file__).resolve().parents[3]
LEADER = """
import subprocess, sys, time
from backends.worker.lifeline import guard_group
guard_group()
print(subprocess.Popen(["sleep", "60"]).pid, flush=True)
time.sleep(60)
"""


def leader(*, leads: bool) -> subprocess.Popen[str]:
    """A process that has started another one under the guard; in a group of its own or not."""
    return subprocess.Popen(
        [sys.executable, "-c", LEADER], cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=leads
    )


async def test_the_guard_ends_what_a_killed_process_has_started() -> None:
    with leader(leads=True) as process:
        assert process.stdout is not None
        started = int(process.stdout.readline())
        assert alive(started)
        process.kill()
        await until(lambda: not alive(started))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_a_process_that_does_not_lead_its_group_starts_no_guard() -> None:
    with leader(leads=False) as process:
        assert process.stdout is not None
        started = int(process.stdout.readline())
        process.kill()
        process.wait()
        assert alive(started), "nor is anything else of the group ended, such as this test"
        os.kill(started, signal.SIGKILL)
