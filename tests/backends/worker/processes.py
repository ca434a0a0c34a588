"""What the tests of the worker need to know about processes."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

from backends.types import EngineConfig


def stub_config(**options: object) -> EngineConfig:
    """A stub engine whose loading follows `options`."""
    return EngineConfig(engine="stub", model="stub", alias="stub", cache_dir="", options=options)


def alive(pid: int) -> bool:
    """Whether the process runs; one that nobody has reaped yet does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Return when `condition` holds; a test hangs no longer than `seconds`."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)
