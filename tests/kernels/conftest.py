"""Every test of a kernel runs at every level that this machine has."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from kernels import levels
from tests.kernels.library import levels_to_test, library

settings.register_profile(
    "kernels",
    max_examples=int(os.environ.get("KERNELS_EXAMPLES", "60")),
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("kernels")


@pytest.fixture
def unchosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """No level is in use yet; what the test selects is forgotten afterwards."""
    monkeypatch.setattr(levels, "_selections", [])


@pytest.fixture(params=levels_to_test())
def level(request: pytest.FixtureRequest, unchosen: None) -> Iterator[str]:
    """A level, which is in use."""
    levels.select(request.param, library())
    yield request.param
    if library():
        levels.select("auto", library())  # the table of the native library is the process's


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20)
