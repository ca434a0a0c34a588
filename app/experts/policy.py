"""Decisions about an expert's life: values in, decision out, and the time is an argument."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """How patient the pool is with an engine that crashes; all times in seconds."""

    first_delay_s: float = 0.5
    max_delay_s: float = 30.0
    calm_s: float = 120.0
    """An engine that lived this long starts with a clean slate."""
    breaker_crashes: int = 3
    breaker_window_s: float = 60.0
    breaker_pause_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Restart:
    """What to do after a crash: start again after `delay_s`; `broken` refuses requests until then."""

    delay_s: float
    broken: bool


def after_crash(crashes: Sequence[float], now: float, policy: RestartPolicy) -> Restart:
    """The decision after the latest of `crashes` (their times, oldest first, on the clock of `now`).

    The delay doubles with every crash that follows the one before it within `calm_s`.
    """
    recent = sum(now - crash < policy.breaker_window_s for crash in crashes)
    if recent >= policy.breaker_crashes:
        return Restart(policy.breaker_pause_s, broken=True)
    run = 0
    for later, earlier in zip(crashes[::-1], crashes[-2::-1], strict=False):
        if later - earlier >= policy.calm_s:
            break
        run += 1
    return Restart(min(policy.max_delay_s, policy.first_delay_s * 2**run), broken=False)


def load_retry_after(elapsed_s: float, progress: float | None) -> float:
    """Seconds until a model that has loaded for `elapsed_s` seconds may be there, between 1 and 60."""
    if not progress:
        return 5.0
    return min(60.0, max(1.0, elapsed_s * (1.0 - progress) / progress))
