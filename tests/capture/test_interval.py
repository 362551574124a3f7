"""Which frames are due where one in so many seconds is judged."""

from __future__ import annotations

import pytest

from inspector.capture.interval import Interval


@pytest.mark.parametrize(
    ("every_s", "times_s", "due_s"),
    [
        (0.0, [0.0, 0.04, 0.02, 0.08], [0.0, 0.04, 0.02, 0.08]),
        (1.0, [0.0, 0.5, 0.999, 1.5, 2.0], [0.0, 0.999, 2.0]),
        (3.0, [0.0, 1.0, 2.0, 0.0, 1.0, 2.0, 0.0], [0.0, 0.0, 0.0]),
        (3600.0, [3500.0, 5000.0, 2000.0, 3000.0], [3500.0, 2000.0]),
        (1.0, [0.0, 0.96, 0.92, 1.0], [0.0, 1.0]),
    ],
    ids=["each", "one a second", "a looped clip", "a clock set back", "stamps out of order"],
)
def test_due(every_s: float, times_s: list[float], due_s: list[float]) -> None:
    interval = Interval(every_s)
    assert [at for at in times_s if interval.due(at)] == due_s
