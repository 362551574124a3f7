from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.engine.plans.progress import BuildProgress, left_s


def test_phases_below_count_as_part_of_the_step_in_hand():
    progress = BuildProgress()
    assert (progress.percent, progress.stage) == (0.0, "")
    progress.phase_start("build", None, 4)
    progress.step_complete("build", 0)
    assert progress.percent == 25.0
    progress.phase_start("graph", "build", 2)
    progress.phase_start("timing", "graph", 10)
    progress.step_complete("timing", 4)
    assert (progress.percent, progress.stage) == (31.2, "timing")  # 1/4 + 1/4 * 1/2 * 1/2
    progress.phase_finish("timing")
    assert (progress.percent, progress.stage) == (37.5, "graph")
    progress.step_complete("graph", 0)
    assert progress.percent == 37.5
    progress.phase_finish("graph")
    progress.step_complete("build", 1)
    assert progress.percent == 50.0
    progress.phase_finish("build")
    assert (progress.percent, progress.stage) == (100.0, "")


def test_an_unknown_phase_is_no_error():
    progress = BuildProgress()
    progress.step_complete("never", 3)
    progress.phase_finish("never")
    progress.phase_start("orphan", "never", 0)
    assert progress.percent == 0.0


names = st.sampled_from("abc")
calls = st.one_of(
    st.tuples(st.just("phase_start"), names, st.none() | names, st.integers(-1, 5)),
    st.tuples(st.just("step_complete"), names, st.integers(-1, 6)),
    st.tuples(st.just("phase_finish"), names),
)


@given(st.lists(calls, max_size=30))
def test_it_never_goes_back_whatever_is_reported(reports):
    progress = BuildProgress()
    before = 0.0
    for name, *arguments in reports:
        getattr(progress, name)(*arguments)
        assert before <= progress.percent <= 100.0
        before = progress.percent


def test_the_time_that_is_left_goes_by_the_last_build_and_then_by_the_rate():
    assert left_s(0, 0, 600) == 600
    assert left_s(2, 40, None) is None, "its first steps are over in no time"
    assert left_s(60, 1, None) is None
    assert left_s(60, 20, None) == 240
    # What was measured before makes this one quicker: the rate counts for ever more.
    assert left_s(30, 75, 600) == pytest.approx(0.75 * 10 + 0.25 * 570)
    assert left_s(30, 100, 600) == 0


def test_a_build_that_takes_longer_than_the_last_one_goes_by_its_rate_or_says_nothing():
    assert left_s(700, 50, 600) == 700
    assert left_s(700, 0, 600) is None
