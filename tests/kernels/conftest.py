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
def unchosen() -> Iterator[None]:
    """No level is in use yet; what was before the test is again after it."""
    before = levels._selections[:]
    levels._selections.clear()
    yield
    levels._selections[:] = before
    if before and before[0].functions and library():  # the table of the native library is the process's
        levels.select(before[0].level, library())


@pytest.fixture(params=levels_to_test())
def level(request: pytest.FixtureRequest) -> str:
    """A level, which is in use."""
    request.getfixturevalue("unchosen")
    levels.select(request.param, library())
    return str(request.param)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20)
