import pytest

from app.experts.policy import Restart, RestartPolicy, after_crash, load_retry_after

POLICY = RestartPolicy()


@pytest.mark.parametrize(
    "crashes, now, expected",
    [
        ([100], 100, Restart(0.5, False)),
        ([100, 101], 101, Restart(1.0, False)),
        ([100, 101, 102], 102, Restart(60.0, True)),
        ([100, 140, 159.9], 159.9, Restart(60.0, True)),
        ([100, 140, 160], 160, Restart(2.0, False)),
        ([0, 200], 200, Restart(0.5, False)),
        ([0, 1, 121], 121, Restart(0.5, False)),
        ([0, 119, 200], 200, Restart(2.0, False)),
        (list(range(0, 400, 40)), 360, Restart(30.0, False)),
    ],
)
def test_the_delay_doubles_until_the_engine_is_calm_and_the_breaker_opens_on_the_third_crash_in_a_minute(
    crashes: list[float], now: float, expected: Restart
) -> None:
    assert after_crash(crashes, now, POLICY) == expected


@pytest.mark.parametrize(
    "elapsed_s, progress, expected",
    [(10, None, 5), (10, 0.0, 5), (10, 0.5, 10), (2, 0.99, 1), (10, 1.0, 1), (300, 0.01, 60)],
)
def test_the_time_to_come_back_follows_the_progress(elapsed_s: float, progress: float | None, expected: float) -> None:
    assert load_retry_after(elapsed_s, progress) == pytest.approx(expected)
