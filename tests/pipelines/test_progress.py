"""What the live line of a stage says."""

from __future__ import annotations

import pytest

from pipelines.progress import rate_of


@pytest.mark.parametrize(
    ("per_second", "told"),
    [(None, ""), (0.0, ""), (12.34, "12.3/s"), (1.0, "1.0/s"), (0.05, "3.0/min")],
)
def test_a_rate_is_of_a_second_or_of_a_minute(per_second: float | None, told: str) -> None:
    assert rate_of(per_second) == told
