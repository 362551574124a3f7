"""The ledger, and the shifts that it is read by."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime

import numpy as np
import pytest

from inspector.config.fleet import Shifts
from inspector.fleet.ledger import STEP_S, Ledger, step_of
from inspector.fleet.shifts import shifts_until


def ledger(newest=1000):
    made = Ledger(steps=8, columns=2)
    made.advance(newest)
    return made


def test_counts_lie_where_they_were_put():
    book = ledger()
    a, b = book.row(), book.row()
    assert book.add(a, 1000, 0, 3)
    assert book.add(b, 997, 1)
    assert book.total(993, 1001).tolist() == [[3, 0], [0, 1]]
    assert book.total(998, 1001).tolist() == [[3, 0], [0, 0]]
    assert book.window(997, 1001)[b, :, 1].tolist() == [1, 0, 0, 0]


def test_what_is_older_than_the_ring_or_later_than_now_is_not_counted():
    book = ledger()
    row = book.row()
    assert not book.add(row, 1001, 0)
    assert book.oldest == 993
    assert book.add(row, 993, 0)
    assert not book.add(row, 992, 0)
    assert book.total(900, 1100).sum() == 1


@pytest.mark.parametrize("steps", [1, 7, 8, 9, 5000])
def test_time_that_goes_on_forgets_what_falls_out_and_nothing_else(steps):
    book = ledger()
    row = book.row()
    for step in range(993, 1001):
        book.add(row, step, 0, step)
    book.advance(1000 + steps)
    kept = [step for step in range(993, 1001) if step > 992 + steps]
    assert book.total(0, 9000)[row, 0] == sum(kept)
    assert book.window(1000, 1001)[row, 0, 0] == (1000 if 1000 in kept else 0)


def test_rows_grow_and_come_back_empty():
    book = ledger()
    rows = [book.row() for _ in range(100)]
    assert len(set(rows)) == 100
    for row in rows:
        book.add(row, 1000, 0, row)
    assert book.total(1000, 1001)[:, 0].tolist() == list(range(100))
    book.release(rows[40])
    assert book.row() == rows[40]
    assert book.total(1000, 1001)[40].tolist() == [0, 0]
    assert book.total(1000, 1001).dtype == np.int64


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def clock(step: int) -> str:
    return f"{datetime.fromtimestamp(step * STEP_S, UTC):%d %H:%M}"


def told(shifts):
    return [(shift.name, clock(shift.begin), clock(shift.end)) for shift in shifts]


def test_shifts_by_the_clock_on_the_wall():
    shifts = Shifts(zone="Europe/Berlin")
    assert told(shifts_until(at("2026-01-15T21:30"), shifts, 4)) == [
        ("night", "15 21:00", "16 05:00"),
        ("late", "15 13:00", "15 21:00"),
        ("early", "15 05:00", "15 13:00"),
        ("night", "14 21:00", "15 05:00"),
    ]
    assert told(shifts_until(at("2026-01-16T04:59"), shifts, 1)) == [
        ("night", "15 21:00", "16 05:00")
    ]


def test_the_night_when_the_clock_changes_is_an_hour_shorter_or_longer():
    shifts = Shifts(zone="Europe/Berlin")
    (spring,) = shifts_until(at("2026-03-29T02:00"), shifts, 1)
    (autumn,) = shifts_until(at("2026-10-25T02:00"), shifts, 1)
    assert (spring.end - spring.begin) * STEP_S == 7 * 3600
    assert (autumn.end - autumn.begin) * STEP_S == 9 * 3600


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu", "America/St_Johns", "Pacific/Chatham"])
def test_shifts_join_without_gap_in_every_zone(zone):
    shifts = Shifts(zone=zone, starts={"day": "06:15", "night": "18:45"})
    row = shifts_until(at("2026-07-01T00:00"), shifts, 10)
    assert len(row) == 10
    for later, earlier in itertools.pairwise(row):
        assert earlier.end == later.begin
        assert later.name != earlier.name
    assert row[0].begin <= step_of(at("2026-07-01T00:00")) < row[0].end


def test_one_shift_is_the_whole_day():
    (shift,) = shifts_until(at("2026-07-01T12:00"), Shifts(starts={"day": "00:00"}), 1)
    assert (shift.end - shift.begin) * STEP_S == 86_400
