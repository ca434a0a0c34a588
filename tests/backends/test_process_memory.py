from __future__ import annotations

import mmap
import sys

import pytest

from backends.process_memory import locked_bytes, resident_bytes

SIZE = 64 * 2**20


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_that_is_used_is_counted() -> None:
    before = resident_bytes()
    with mmap.mmap(-1, SIZE) as taken:
        for at in range(0, SIZE, mmap.PAGESIZE):
            taken[at] = 1
        during = resident_bytes()
    assert before is not None and during is not None
    assert 0.9 * SIZE < during - before < 1.5 * SIZE
    assert locked_bytes() >= 0
