"""What the live line of a stage says."""

from __future__ import annotations

import pytest

from pipelines.progress import rate_of, time_left


@pytest.mark.parametrize(
    ("done", "seconds", "told"),
    [
        (0, 0.0, ""),
        (0, 9.0, ""),
        (37, 3.0, "12.3/s"),
        (3, 3.0, "1.0/s"),
        (1, 20.0, "3.0/min"),
        # Trials of half an hour: the very first one already has a rate.
        (1, 1800.0, "2.0/h"),
    ],
)
def test_a_rate_is_of_a_second_a_minute_or_an_hour(done: int, seconds: float, told: str) -> None:
    assert rate_of(done, seconds) == told


@pytest.mark.parametrize(
    ("done", "left", "seconds", "since", "told"),
    [
        (0, 5, 0.0, 40.0, "-:--:--"),
        # Two of ten in ten minutes: eight more take forty.
        (2, 8, 600.0, 0.0, "0:40:00"),
        # It counts down while the next step runs, and never below nothing.
        (2, 8, 600.0, 90.0, "0:38:30"),
        (9, 1, 90.0, 45.0, "0:00:00"),
        (1, 41, 7200.0, 0.0, "3 days, 10:00:00"),
    ],
)
def test_the_time_left_is_at_the_pace_until_now(
    done: int, left: int, seconds: float, since: float, told: str
) -> None:
    assert time_left(done, left, seconds, since) == told
