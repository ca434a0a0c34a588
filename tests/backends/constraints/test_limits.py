"""The documentation says how large a constraint may be."""

from __future__ import annotations

from pathlib import Path

import pytest

from backends.constraints import LIMITS
from backends.constraints.keywords import FORMATS, SIMPLE

PAGE = (Path(__file__).parents[3] / "docs" / "structured-output.md").read_text()


@pytest.mark.parametrize("name", LIMITS._fields)
def test_every_limit_is_documented(name: str) -> None:
    assert f"{getattr(LIMITS, name):,}" in PAGE.partition("## Limits")[2]


def test_every_keyword_and_format_is_documented() -> None:
    assert [name for name in (*SIMPLE, *FORMATS) if f"`{name}`" not in PAGE] == []
