"""Each trigger gets one answer, in time: over a camera with behaviour and with real deadlines."""

from __future__ import annotations

import threading
import time
from concurrent.futures import wait

import pytest
from structlog.testing import capture_logs

from inspector.capture.asks import MOST_WAITING, NoFramesError
from inspector.errors import TriggerError
from inspector.frame import Frame, Trigger
from inspector.observe.metrics import Metrics
from inspector.triggers import Triggers
from inspector.verdict import Cause, EngineInfo, Outcome, Verdict
from tests.evidence.making import wait_until

ENGINE = EngineInfo("simplenet", "1.0.0", "ab" * 32, "openvino", "int8")
LONG_MS = 60_000.0


class Clock:
    """The machine's monotonic clock, ahead by what the test says: no deadline passes before."""

    def __init__(self) -> None:
        self.ahead_ns = 0

    def __call__(self) -> int:
        return time.monotonic_ns() + self.ahead_ns

    def go(self, seconds: float) -> None:
        self.ahead_ns += round(seconds * 1e9)


class Cameras:
    """One camera, `infeed`; the test decides what becomes of its frames."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.deadline_ms = LONG_MS
        self.away: NoFramesError | None = None
        self.without_frame: set[str] = set()

    def ask(self, camera: str, trigger_id: str, part_id: str | None) -> Trigger:
        if camera != "infeed":
            raise KeyError(camera)
        if self.away:
            raise self.away
        now = self.clock()
        until = now + round(self.deadline_ms * 1e6)
        self.without_frame.add(trigger_id)
        return Trigger(trigger_id, camera, part_id, now, time.time_ns(), now, until)

    def awaits_frame(self, trigger: Trigger) -> bool:
        return trigger.id in self.without_frame


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def cameras(clock):
    return Cameras(clock)


@pytest.fixture
def metrics():
    return Metrics(dict)


@pytest.fixture
def triggers(cameras, metrics, clock):
    made = Triggers(cameras, "inspect", metrics, clock_ns=clock)
    made.start()
    yield made
    made.close()


def frame_for(triggers, *ids):
    """The frame that answers these triggers."""
    asked = tuple(triggers._waiting[one].trigger for one in ids)
    now = time.monotonic_ns()
    return Frame("infeed", 3, 17, 4, 4, now, time.time_ns(), now, triggers=asked)


def waiting_ids(triggers):
    return list(triggers._waiting)


def verdict(outcome=Outcome.REJECTED, **more):
    return Verdict(outcome, "gblur", {"gblur": 0.97}, ("because",), engine=ENGINE, **more)


def test_the_askers_own_deadline_holds_where_it_is_earlier(triggers, cameras, clock):
    answer = triggers.ask("infeed", None, until_ns=clock() + 10**8)
    got = answer.result(60)
    assert (got["verdict"], got["cause"]) == ("unjudgeable", "deadline")
    assert "(line.cameras.infeed.deadline_ms)" in got["reasons"][0]
    cameras.deadline_ms = 50.0
    got = triggers.ask("infeed", None, until_ns=clock() + 10**12).result(60)
    assert "within 50 ms (inspect.deadline_ms)" in got["reasons"][0]


def test_the_answer_is_the_verdict_on_the_frame(triggers, metrics):
    answer = triggers.ask("infeed", "part-7")
    (trigger_id,) = waiting_ids(triggers)
    frame = frame_for(triggers, trigger_id)
    assert triggers.claim(frame) == frozenset()
    triggers.answer(frame, verdict(), reject=True)
    said = answer.result(0)
    assert said.pop("waited_ms") >= 0
    assert said.pop("triggered").endswith("Z")
    assert said["frame"].pop("captured").endswith("Z")
    assert said == {
        "trigger_id": trigger_id,
        "part_id": "part-7",
        "camera": "infeed",
        "mode": "inspect",
        "verdict": "rejected",
        "reject": True,
        "label": "gblur",
        "probabilities": {"gblur": 0.97},
        "cause": None,
        "reasons": ["because"],
        "confirmed": None,
        "engine": "simplenet 1.0.0",
        "frame": {"stream_epoch": 3, "sequence": 17, "origin": None},
    }
    assert metrics.triggers_total.labels("infeed", "rejected")._value.get() == 1


def test_one_frame_answers_all_that_asked_for_it(triggers):
    answers = [triggers.ask("infeed", f"part-{n}") for n in range(3)]
    frame = frame_for(triggers, *waiting_ids(triggers))
    triggers.claim(frame)
    triggers.answer(frame, verdict(), reject=True)
    assert [one.result(0)["part_id"] for one in answers] == ["part-0", "part-1", "part-2"]


@pytest.mark.parametrize("cause", [Cause.DECODE, Cause.ENGINE_ERROR, Cause.TOO_SMALL])
def test_what_cannot_be_judged_is_answered_with_its_cause(triggers, metrics, cause):
    answer = triggers.ask("infeed", None)
    frame = frame_for(triggers, *waiting_ids(triggers))
    triggers.claim(frame)
    triggers.answer(frame, Verdict(Outcome.UNJUDGEABLE, cause=cause), reject=False)
    said = answer.result(0)
    assert (said["verdict"], said["cause"], said["reject"]) == ("unjudgeable", cause, False)
    assert metrics.triggers_total.labels("infeed", str(cause))._value.get() == 1


@pytest.mark.parametrize(
    ("has_frame", "says"),
    [
        (False, "no frame of camera infeed arrived within 50000 ms"),
        (True, "a frame of camera infeed arrived, but had no verdict within 50000 ms"),
    ],
)
def test_at_the_deadline_it_is_unjudgeable_and_a_later_verdict_is_late(
    triggers, cameras, metrics, clock, has_frame, says
):
    cameras.deadline_ms = 50_000
    answer = triggers.ask("infeed", "part-7")
    (trigger_id,) = waiting_ids(triggers)
    frame = frame_for(triggers, trigger_id)
    if has_frame:
        cameras.without_frame.clear()
    clock.go(50)
    said = answer.result(60)
    assert (said["verdict"], said["cause"], said["reject"]) == ("unjudgeable", "deadline", None)
    assert says in said["reasons"][0]
    assert said["waited_ms"] >= 50_000
    assert triggers.claim(frame) == {trigger_id}
    triggers.answer(frame, verdict(), reject=True)
    assert answer.result(0) is said
    assert metrics.triggers_total.labels("infeed", "deadline")._value.get() == 1


def test_a_verdict_just_in_time_is_not_overtaken_by_the_deadline(triggers, cameras, clock):
    cameras.deadline_ms = 50_000
    answer = triggers.ask("infeed", None)
    frame = frame_for(triggers, *waiting_ids(triggers))
    assert triggers.claim(frame) == frozenset()
    clock.go(60)  # its events take longer than what is left: the verdict was in time
    for _ in range(2):  # the turn after that is whole
        now = clock()
        wait_until(lambda now=now: triggers.progress_ns() > now)
    assert not answer.done()
    triggers.answer(frame, verdict(), reject=True)
    assert answer.result(0)["verdict"] == "rejected"


def test_the_nearest_deadline_counts_whoever_asked_first(triggers, cameras):
    triggers.ask("infeed", None)
    cameras.deadline_ms = 20
    triggers.ask("infeed", None).result(LONG_MS / 2000)
    assert len(waiting_ids(triggers)) == 1


def test_more_than_the_bound_are_refused_until_one_is_answered(triggers, metrics):
    answers = [triggers.ask("infeed", None) for _ in range(MOST_WAITING)]
    with pytest.raises(TriggerError, match=rf"{MOST_WAITING} triggers of camera infeed wait") as no:
        triggers.ask("infeed", None)
    assert no.value.reason == "too_many"
    assert metrics.triggers_total.labels("infeed", "too_many")._value.get() == 1
    frame = frame_for(triggers, waiting_ids(triggers)[0])
    triggers.claim(frame)
    triggers.answer(frame, verdict(), reject=True)
    assert answers[0].done()
    triggers.ask("infeed", None)


def test_an_unknown_camera_is_refused(triggers):
    with pytest.raises(TriggerError, match="no camera outfeed") as no:
        triggers.ask("outfeed", None)
    assert no.value.reason == "unknown_camera"


def test_a_camera_without_frames_is_answered_at_once_and_logged_once(triggers, cameras):
    cameras.away = NoFramesError("camera_away", "camera infeed gives no pictures: it is lost")
    with capture_logs() as logs:
        answers = [triggers.ask("infeed", "part-7") for _ in range(100)]
    said = answers[0].result(0)
    assert (said["verdict"], said["cause"]) == ("unjudgeable", "camera_away")
    assert said["reasons"] == ["camera infeed gives no pictures: it is lost"]
    assert all(one.done() for one in answers), "none of them takes a place"
    assert [line["event"] for line in logs] == ["trigger without a verdict"]


def test_a_camera_that_is_lost_ends_the_waiting(triggers):
    answer = triggers.ask("infeed", None)
    asked = [waiting.trigger for waiting in triggers._waiting.values()]
    triggers.missed(asked, "camera_away", "gone")
    triggers.missed(asked, "camera_away", "gone")
    assert answer.result(0)["cause"] == "camera_away"


def test_close_answers_all_that_wait_even_those_whose_frame_is_in_work(triggers):
    answers = [triggers.ask("infeed", None) for _ in range(3)]
    frame = frame_for(triggers, waiting_ids(triggers)[0])
    triggers.claim(frame)
    triggers.close()
    assert [one.result(0)["cause"] for one in answers] == ["shutdown"] * 3
    triggers.answer(frame, verdict(), reject=True)


def test_from_many_threads_each_gets_one_answer(triggers, cameras):
    cameras.deadline_ms = 40
    answers = []

    def ask(number):
        for turn in range(20):
            try:
                answers.append(triggers.ask("infeed", f"{number}-{turn}"))
            except TriggerError:
                continue
            frame = frame_for_newest(triggers)
            if frame and turn % 2:
                triggers.claim(frame)
                triggers.answer(frame, verdict(), reject=True)

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wait(answers, timeout=60).not_done
    ids = [one.result()["trigger_id"] for one in answers]
    assert len(ids) == len(set(ids))
    assert waiting_ids(triggers) == []


def frame_for_newest(triggers):
    with triggers._changed:
        ids = list(triggers._waiting)
        return frame_for(triggers, ids[-1]) if ids else None
