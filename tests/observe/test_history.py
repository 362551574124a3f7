"""The last ten minutes of every camera, in steps."""

from __future__ import annotations

from inspector.observe.history import STEP_S, STEPS, History
from inspector.verdict import Outcome


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0 * STEP_S

    def __call__(self) -> float:
        return self.now_s


def test_frames_of_a_step_are_summed_and_steps_without_frames_have_no_row() -> None:
    clock = Clock()
    history = History(clock)
    history.note("infeed", Outcome.ACCEPTED, 0.010)
    history.note("infeed", Outcome.REJECTED, 0.050)
    history.note("outfeed", Outcome.UNJUDGEABLE, None)
    clock.now_s += 3 * STEP_S
    history.note("infeed", Outcome.UNCERTAIN, 0.020)
    told = history.document()
    assert (told["step_s"], told["steps"], told["now"]) == (STEP_S, STEPS, 1003)
    assert told["cameras"]["infeed"] == [
        [1000, 1, 1, 0, 0, 30.0, 50.0],
        [1003, 0, 0, 1, 0, 20.0, 20.0],
    ]
    assert told["cameras"]["outfeed"] == [[1000, 0, 0, 0, 1, None, None]]


def test_only_what_came_since_is_told() -> None:
    clock = Clock()
    history = History(clock)
    for _ in range(5):
        history.note("infeed", Outcome.ACCEPTED, 0.01)
        clock.now_s += STEP_S
    assert [row[0] for row in history.document(1003)["cameras"]["infeed"]] == [1003, 1004]


def test_what_is_older_than_ten_minutes_is_forgotten_and_memory_has_one_size() -> None:
    clock = Clock()
    history = History(clock)
    for _ in range(3 * STEPS):
        history.note("infeed", Outcome.ACCEPTED, 0.01)
        clock.now_s += STEP_S
    rows = history.document()["cameras"]["infeed"]
    assert len(rows) == STEPS - 1, "the present step has no frame yet"
    assert len(history._cameras["infeed"]) == STEPS
    clock.now_s += STEPS * STEP_S
    assert history.document()["cameras"]["infeed"] == []
    history.forget("infeed")
    assert history.document()["cameras"] == {}
