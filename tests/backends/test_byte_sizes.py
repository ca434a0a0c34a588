"""Numbers of bytes as people read them."""

from __future__ import annotations

import pytest

from backends.byte_sizes import readable


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (15_051_328, "15.1 MB"), (999_999, "1.0 MB"), (7.1e15, "7100.0 TB")],
)
def test_sizes_are_readable(size: float, text: str) -> None:
    assert readable(size) == text
