"""The arithmetic of the figures: pure, and without a clock."""

from __future__ import annotations

import itertools

import pytest

from inspector.bench.figure import BenchError, Figure, bracketed_ratio, share
from inspector.bench.overload import age_figure
from inspector.bench.station import Cost
from inspector.capture.status import DROP_CAUSES, Counters


@pytest.mark.parametrize(
    ("measured", "bound", "at_least", "met", "word"),
    [
        (0.95, 0.95, True, True, "met"),
        (0.76, 0.95, True, False, "missed by 20 %"),
        (1.25, 1.25, False, True, "met"),
        (2.5, 1.25, False, False, "missed by 100 %"),
    ],
)
def test_met_or_by_how_much_not(measured, bound, at_least, met, word):
    figure = Figure("a", "b", measured, bound, at_least=at_least)
    assert (figure.met, figure.word) == (met, word)
    told = figure.to_json()
    assert (told["met"], told["measured"], told["bound"]) == (met, measured, bound)
    assert told["miss"] == pytest.approx(0.0 if met else abs(measured - bound) / bound)


def test_a_load_that_drifts_falls_out_of_a_ratio_of_sides_measured_in_turn():
    # The machine becomes ten times slower meanwhile, and ours takes 0.9 of theirs throughout.
    theirs = [100.0, 80.0, 60.0, 40.0, 20.0, 10.0]
    ours = [0.9 * (a + b) / 2 for a, b in itertools.pairwise(theirs)]
    assert bracketed_ratio(ours, theirs) == pytest.approx(0.9)


def test_one_round_that_was_disturbed_does_not_count():
    assert bracketed_ratio([9.0, 1.0, 9.0], [10.0] * 4) == pytest.approx(0.9)


@pytest.mark.parametrize(("ours", "theirs"), [([], [1.0]), ([1.0], [1.0]), ([1.0], [1.0] * 3)])
def test_a_ratio_needs_a_measurement_on_either_side(ours, theirs):
    with pytest.raises(ValueError, match="expected one more and at least one"):
        bracketed_ratio(ours, theirs)


def test_shares_of_values():
    values = [float(v) for v in range(200, 0, -1)]
    assert share(values, 0.99) == 198.0
    assert share(values, 1.0) == 200.0
    assert share([5.0], 0.99) == 5.0


def counters(frames_in=100, judged=10, superseded=88, in_flight=2):
    dropped = dict.fromkeys(DROP_CAUSES, 0) | {"superseded": superseded}
    return Counters(frames_in, judged, dropped, in_flight)


def test_age_against_two_periods_and_one_inference():
    figure = age_figure([0.12] * 10, [0.1] * 10, 100.0, counters(), tiles=4)
    assert figure.measured == pytest.approx(1.0)
    assert figure.details["superseded"] == 88
    assert figure.details["age_ms_p99"] == 120.0
    assert figure.met


def test_counters_that_do_not_add_up_are_no_measurement():
    with pytest.raises(BenchError, match="the counters say"):
        age_figure([0.1], [0.1], 100.0, counters(superseded=87), tiles=4)
    with pytest.raises(BenchError, match="0 frames were judged"):
        age_figure([], [0.1], 100.0, counters(), tiles=4)


def test_what_a_station_costs_beyond_what_it_is_for():
    cost = Cost(10.0, 6.0, 400, 200, decode_s=0.005, convert_s=0.002, infer_s=0.01)
    assert cost.purpose_s == pytest.approx(400 * 0.005 + 200 * 0.012)
    assert cost.beyond(20.0) == pytest.approx(0.16)
    assert cost.beyond(40.0) == pytest.approx(0.32), "as if all of it went with the frames"
    assert cost.beyond(5.0) == pytest.approx(0.16)
