"""Drift of label rates: found where it is, and not where chance or one bad hour looks like it."""

from __future__ import annotations

import numpy as np
import pytest

from inspector.fleet.drift import HOURS_NOW, find_drifts, student_t

HOURS = 72
JUDGED = 3600


@pytest.mark.parametrize(
    ("p", "freedom", "value"),
    [  # of published tables
        (0.975, 3, 3.182),
        (0.975, 10, 2.228),
        (0.975, 30, 2.042),
        (0.995, 5, 4.032),
        (0.9995, 20, 3.850),
        (0.99, 120, 2.358),
    ],
)
def test_quantiles_of_student(p, freedom, value):
    assert student_t(p, freedom) == pytest.approx(value, abs=0.001)


def counts(rng, rates, judged=JUDGED):
    """Frames that are rejected independently of one another: rows x hours x 1 label."""
    rates = np.asarray(rates, float)
    return rng.poisson(rates * judged)[:, :, None]


def hours(rows=1, judged=JUDGED):
    return np.full((rows, HOURS), judged)


def steady(rows, rate):
    return np.full((rows, HOURS), rate)


def test_a_rate_that_rises_fourfold_is_found_with_its_interval():
    rates = steady(1, 0.004)
    rates[:, -HOURS_NOW:] *= 4
    found = find_drifts(hours(), counts(np.random.default_rng(1), rates)).found
    assert [(drift.row, drift.label) for drift in found] == [(0, 0)]
    (drift,) = found
    assert drift.low < 4 < drift.high
    assert drift.low > 2.5
    assert drift.before == pytest.approx(0.004, rel=0.1)
    assert drift.now == pytest.approx(0.016, rel=0.1)


def test_a_rate_that_falls_is_found_too():
    rates = steady(1, 0.02)
    rates[:, -HOURS_NOW:] /= 5
    (drift,) = find_drifts(hours(), counts(np.random.default_rng(2), rates)).found
    assert drift.high < 1
    assert drift.factor == pytest.approx(0.2, rel=0.2)


def test_a_shift_of_dirt_is_found_beside_thousand_steady_cameras():
    rates = steady(1000, 0.005)
    rates[17, -6:] = 0.5
    found = find_drifts(hours(1000), counts(np.random.default_rng(3), rates)).found
    assert [drift.row for drift in found] == [17]


def test_steady_cameras_do_not_drift():
    rng = np.random.default_rng(4)
    found = find_drifts(hours(5000), counts(rng, steady(5000, 0.004))).found
    assert found == ()


def test_bursts_are_not_taken_for_independent_frames():
    """Two bursts a day on average, of up to 1800 frames, on both sides alike."""
    rng = np.random.default_rng(5)
    rows = 2000
    bursts = rng.random((rows, HOURS)) < 2 / 24
    frames = (bursts * rng.integers(50, 1800, (rows, HOURS)))[:, :, None]
    found = find_drifts(hours(rows), frames).found
    assert len(found) <= 2, "of 2000 cameras without any drift"

    # The same numbers as independent frames would be alarms by the hundred.
    naive = frames[:, -HOURS_NOW:, 0].sum(axis=1), frames[:, :-HOURS_NOW, 0].sum(axis=1)
    spread = np.sqrt(1 / (naive[0] + 0.5) + 1 / (naive[1] + 0.5))
    z = np.abs(np.log((naive[0] + 0.5) / (naive[1] + 0.5) * 2)) / spread
    assert (z > 4.5).sum() > 1000


def test_a_label_that_was_never_there_is_found_though_it_comes_in_bursts():
    rng = np.random.default_rng(9)
    frames = np.zeros((1, HOURS, 1), int)
    frames[0, -14:, 0] = rng.integers(20, 2000, 14)
    (drift,) = find_drifts(hours(), frames).found
    assert (drift.before, drift.low, drift.high) == (0.0, None, None)
    frames[0, -14:-2, 0] = 0
    assert find_drifts(hours(), frames).found == (), "two bursts may be chance"


def test_one_bad_hour_is_an_event_and_no_drift():
    frames = counts(np.random.default_rng(6), steady(1, 0.004))
    frames[0, -3, 0] = 2000
    assert find_drifts(hours(), frames).found == ()


def test_few_frames_say_nothing():
    judged = np.zeros((3, HOURS), int)
    judged[0, -4:] = 1000  # four hours only
    judged[0, :48] = 1000
    judged[1] = 1  # few frames
    judged[2, -HOURS_NOW:] = 1000  # nothing before
    frames = judged[:, :, None] // 2
    told = find_drifts(judged, frames)
    assert (told.found, told.cameras, told.too_little) == ((), 0, 3)


def test_a_handful_of_rejects_says_nothing():
    frames = np.zeros((1, HOURS, 1), int)
    frames[0, -9:, 0] = 1
    told = find_drifts(hours(), frames)
    assert (told.found, told.cameras) == ((), 1)


def test_a_change_below_one_in_a_thousand_is_nobodys_business():
    rates = steady(1, 0.0001)
    rates[:, -HOURS_NOW:] *= 5
    found = find_drifts(hours(judged=100_000), counts(np.random.default_rng(7), rates, 100_000))
    assert found.found == ()


def test_a_look_back_of_a_day_has_nothing_to_compare():
    told = find_drifts(np.full((2, HOURS_NOW), 100), np.zeros((2, HOURS_NOW, 1), int))
    assert (told.found, told.too_little) == ((), 2)


def test_rejects_of_hours_that_no_heartbeat_counted_yet_are_no_share_above_one():
    judged = hours()
    judged[0, -HOURS_NOW:] = 0
    frames = counts(np.random.default_rng(8), steady(1, 0.02))
    for drift in find_drifts(judged, frames).found:
        assert 0 <= drift.now <= 1
