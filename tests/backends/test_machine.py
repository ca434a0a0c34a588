"""What an engine that was told nothing takes of the machine."""

from __future__ import annotations

import os

import pytest

from backends.machine import (
    available_memory,
    physical_cores,
    sensible_threads,
    tokens_that_fit,
    windows_that_fit,
)

MB, GB = 2**20, 2**30


def test_cores_are_at_least_one_and_at_most_the_processors() -> None:
    assert 1 <= physical_cores() <= (os.cpu_count() or 1)


@pytest.mark.parametrize(
    ("model_bytes", "cores", "threads"),
    [(6 * MB, 2, 1), (0, 8, 1), (100 * MB, 8, 3), (500 * MB, 2, 2), (5 * GB, 64, 64)],
)
def test_small_models_get_few_threads(model_bytes: int, cores: int, threads: int) -> None:
    assert sensible_threads(model_bytes, cores) == threads


@pytest.mark.parametrize(
    ("wanted", "window_bytes", "available", "windows"),
    [(8, GB, 64 * GB, 8), (8, GB, 8 * GB, 4), (8, GB, GB, 1), (8, GB, None, 8), (8, 0, GB, 8)],
)
def test_the_cache_takes_at_most_half_of_the_free_memory(
    wanted: int, window_bytes: int, available: int | None, windows: int
) -> None:
    assert windows_that_fit(wanted, window_bytes, available) == windows


@pytest.mark.parametrize(
    ("wanted", "token_bytes", "available", "tokens"),
    [(8192, MB, 64 * GB, 8192), (8192, MB, 8 * GB, 4096), (8192, MB, MB, 512), (99, MB, MB, 99), (8192, 1, None, 8192)],
)
def test_an_input_takes_at_most_half_of_the_free_memory(
    wanted: int, token_bytes: int, available: int | None, tokens: int
) -> None:
    assert tokens_that_fit(wanted, token_bytes, available) == tokens


def test_free_memory_is_known_on_linux() -> None:
    memory = available_memory()
    assert memory is None or memory > 100 * MB
