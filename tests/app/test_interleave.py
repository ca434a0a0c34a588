"""Reading several streams as one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from app.interleave import interleave


class Source:
    """A stream of numbers with pauses; remembers whether it was closed."""

    def __init__(self, *items: int, pause_s: float = 0.0, failure: Exception | None = None) -> None:
        self.closed = False
        self.stream = self._run(items, pause_s, failure)

    async def _run(self, items: tuple[int, ...], pause_s: float, failure: Exception | None) -> AsyncGenerator[int]:
        try:
            for item in items:
                await asyncio.sleep(pause_s)
                yield item
            if failure:
                raise failure
        finally:
            self.closed = True


async def test_one_stream_passes_in_order() -> None:
    assert [pair async for pair in interleave([Source(1, 2).stream])] == [(0, 1), (0, 2)]


async def test_items_of_all_streams_come_with_their_number() -> None:
    pairs = [pair async for pair in interleave([Source(1, 2).stream, Source().stream, Source(3).stream])]
    assert sorted(pairs) == [(0, 1), (0, 2), (2, 3)]


async def test_a_slow_stream_does_not_hold_back_a_fast_one() -> None:
    pairs = [pair async for pair in interleave([Source(1, pause_s=0.05).stream, Source(2, 3).stream])]
    assert pairs == [(1, 2), (1, 3), (0, 1)]


async def test_no_streams_give_nothing() -> None:
    empty: list[AsyncGenerator[int]] = []
    assert [pair async for pair in interleave(empty)] == []


async def test_a_failure_ends_and_closes_all() -> None:
    sources = [Source(1, failure=ValueError("broken")), Source(2, 3, pause_s=3600)]
    with pytest.raises(ValueError, match="broken"):
        async for _ in interleave([source.stream for source in sources]):
            pass
    assert all(source.closed for source in sources)


@pytest.mark.parametrize("count", [1, 2])
async def test_closing_closes_all(count: int) -> None:
    sources = [Source(1, 2, 3) for _ in range(count)]
    async with aclosing(interleave([source.stream for source in sources])) as pairs:
        await anext(pairs)
    assert sources[0].closed


async def test_cancelling_the_reader_closes_all() -> None:
    sources = [Source(1, pause_s=3600) for _ in range(2)]

    async def read() -> None:
        async for _ in interleave([source.stream for source in sources]):
            pass

    reader = asyncio.create_task(read())
    await asyncio.sleep(0.01)
    reader.cancel()
    await asyncio.wait([reader])
    assert all(source.closed for source in sources)
