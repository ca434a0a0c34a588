from __future__ import annotations

import ctypes
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


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_that_cannot_be_swapped_out_is_counted() -> None:
    libc = ctypes.CDLL(None)
    before = locked_bytes()
    with mmap.mmap(-1, mmap.PAGESIZE) as taken:
        page = ctypes.c_char.from_buffer(taken)
        try:
            if libc.mlock(ctypes.byref(page), ctypes.c_size_t(mmap.PAGESIZE)):
                pytest.skip("the memlock limit is used up")
            assert locked_bytes() - before == mmap.PAGESIZE
        finally:
            del page  # else the map cannot be closed
