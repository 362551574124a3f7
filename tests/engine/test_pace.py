"""The pace: when the next batch is taken. No clock but the test's own."""

from __future__ import annotations

import pytest

from inspector.engine.pace import LEAD_S, LEAD_SHARE, Pace


def lead_s(took_s: float) -> float:
    return LEAD_S + LEAD_SHARE * took_s


@pytest.fixture
def pace() -> Pace:
    """An engine that takes 0.1 s for four tiles, and is free at second 10."""
    pace = Pace()
    pace.submitted(9.9, 4)
    pace.answered(10.0)
    return pace


def test_an_engine_that_is_free_or_not_known_is_not_waited_for():
    pace = Pace()
    assert pace.left_s(1.0) == 0.0
    pace.submitted(1.0, 4)
    assert pace.left_s(1.0) == 0.0


def test_the_next_batch_is_taken_just_before_the_engine_is_free(pace):
    assert pace.left_s(10.5) == 0.0
    pace.submitted(11.0, 4)
    assert pace.left_s(11.0) == pytest.approx(0.1 - lead_s(0.1))
    assert pace.left_s(11.09) == pytest.approx(0.01 - lead_s(0.1))
    assert pace.left_s(11.1) == 0.0
    assert pace.left_s(15.0) == 0.0, "an engine that is late is not waited for"


def test_a_smaller_batch_takes_less(pace):
    pace.submitted(11.0, 1)
    assert pace.left_s(11.0) == pytest.approx(0.025 - lead_s(0.025))


def test_a_batch_that_waited_for_the_one_before_counts_from_its_answer(pace):
    pace.submitted(11.0, 4)
    pace.submitted(11.09, 4)
    pace.answered(11.1)
    assert pace.left_s(11.1) == pytest.approx(0.1 - lead_s(0.1))
    pace.answered(11.2)
    pace.submitted(12.0, 4)
    assert pace.left_s(12.0) == pytest.approx(0.1 - lead_s(0.1)), "still 0.1 s each"


def test_the_expectation_follows_a_faster_engine_sooner_than_a_slower_one(pace):
    pace.submitted(11.0, 4)
    pace.answered(11.2)
    pace.submitted(12.0, 4)
    slower = pace.left_s(12.0) + lead_s(0.12)
    assert slower == pytest.approx(0.12)
    pace.answered(12.02)
    pace.submitted(13.0, 4)
    faster = pace.left_s(13.0) + lead_s(0.07)
    assert faster == pytest.approx(0.07)


def test_batches_without_tiles_ask_nothing_of_the_engine(pace):
    pace.submitted(11.0, 0)
    assert pace.left_s(11.0) == 0.0
