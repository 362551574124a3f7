"""From verdicts to events and stored states, over a real outbox."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from structlog.testing import capture_logs

from inspector.capture.status import DROP_CAUSES, Counters
from inspector.config.cameras import Camera, PatternSource
from inspector.config.evidence import Evidence as Settings
from inspector.config.station import Station
from inspector.events import schemas
from inspector.events.documents import Documents
from inspector.events.outbox import CameraState, Outbox
from inspector.evidence.store import Evidence
from inspector.facts import of_cameras
from inspector.frame import Frame, Trigger
from inspector.observe.metrics import Metrics
from inspector.ruling import Rulings, result_of
from inspector.verdict import Cause, EngineInfo, Outcome, Verdict
from tests.evidence.making import Loans, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from inspector.capture.supervisor import Capture

INFO = EngineInfo("simplenet", "1.0.0", "ab" * 32, "openvino", "int8")


def config(
    *, publish_verdicts: bool = False, emit: str = "rejects", on_trigger: bool = False
) -> Station:
    return Station.model_validate(
        {
            "version": 1,
            "station": "packing-07",
            "cameras": {
                "infeed": {"source": {"kind": "pattern"}, "inspect": {"on_trigger": on_trigger}}
            },
            "policies": {"default": {"needed": 2, "window": 3, "recover_after": 2, "emit": emit}},
            "events": {"publish_verdicts": publish_verdicts},
        }
    )


def frame(sequence: int, stream_epoch: int = 1) -> Frame:
    now = time.monotonic_ns()
    return Frame("infeed", stream_epoch, sequence, 4, 4, now, time.time_ns(), now)


def verdict(outcome: Outcome, label: str | None = None) -> Verdict:
    now = time.monotonic_ns()
    p = {label: 0.97, "wn": 0.03} if label else {}
    return Verdict(outcome, label, p, ("because",), None, INFO, None, now, now)


PATTERN = PatternSource(kind="pattern")


def _nothing() -> None:
    """Hands no frame back."""


BAD = (Outcome.REJECTED, "gblur")
GOOD = (Outcome.ACCEPTED, "refimgs")


class Desk:
    """Rulings with the outbox behind them; `again` is a restart."""

    def __init__(self, folder: Path, station: Station) -> None:
        self.folder, self.station = folder, station
        self.metrics = Metrics(dict)
        self.again()

    def again(self, evidence: Evidence | None = None) -> None:
        topics = self.station.events.topics
        self.outbox = Outbox(
            self.folder, max_bytes=10**7, keep_s=60, topics=topics, source="/stations/packing-07"
        )
        documents = Documents("packing-07", "inspect", topics)
        self.rulings = Rulings(self.station, documents, self.outbox, self.metrics, evidence)

    def rule(self, *verdicts: tuple[Outcome, str | None], stream_epoch: int = 1) -> None:
        none = Counters(1, 1, dict.fromkeys(DROP_CAUSES, 0), 0)
        for i, (outcome, label) in enumerate(verdicts):
            self.rulings.rule(
                frame(i, stream_epoch), verdict(outcome, label), lambda _: none, _nothing
            )

    def events(self) -> list[str]:
        """Types of all events, oldest first; ends the outbox."""
        self.outbox.append([]).result(60)
        found = [event["type"] for event in reversed(self.outbox.newest(100))]
        self.documents = list(reversed(self.outbox.newest(100)))
        self.outbox.close()
        return [name.removeprefix("inspector.").removesuffix(".v1") for name in found]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path, config())


def test_each_reject_is_an_event_and_transitions_follow_their_frame(desk: Desk) -> None:
    desk.rule(GOOD, BAD, BAD, GOOD, GOOD)
    assert desk.rulings.quality("infeed") == "good"
    assert desk.events() == [
        "frame.rejected",
        "frame.rejected",
        "quality.degraded",
        "quality.recovered",
    ]


def test_transitions_alone_where_the_policy_says_so(tmp_path: Path) -> None:
    desk = Desk(tmp_path, config(emit="transitions"))
    desk.rule(BAD, BAD, GOOD, GOOD)
    assert desk.events() == ["quality.degraded", "quality.recovered"]


def test_every_verdict_where_asked_for(tmp_path: Path) -> None:
    desk = Desk(tmp_path, config(publish_verdicts=True))
    desk.rule(GOOD, (Outcome.UNCERTAIN, "gblur"), (Outcome.UNJUDGEABLE, None))
    assert desk.events() == ["frame.judged"] * 3


def test_a_frame_that_was_asked_for_is_told_of_once_for_each_trigger(tmp_path: Path) -> None:
    desk = Desk(tmp_path, config(publish_verdicts=True))
    none = Counters(1, 1, dict.fromkeys(DROP_CAUSES, 0), 0)
    asked = tuple(Trigger(f"t{n}", "infeed", f"part-{n}", 0, 0, 0, 0) for n in range(2))
    desk.rule(BAD)
    seen = replace(frame(1), triggers=asked)
    desk.rulings.rule(seen, verdict(*BAD), lambda _: none, bool, frozenset({"t1"}))
    shown = desk.rulings.last("infeed")
    assert shown is not None
    assert shown["part_id"] == "part-0"
    assert desk.events()[2:] == ["frame.judged"] * 2 + ["frame.rejected"] * 2 + ["quality.degraded"]
    told = [event["data"] for event in desk.documents]
    ids = [(data["trigger_id"], data["part_id"], data["late"]) for data in told]
    first, second = ("t0", "part-0", False), ("t1", "part-1", True)
    assert ids == [(None, None, False)] * 2 + [first, second, first, second, first]
    for event in desk.documents:
        schemas.check(event)


def test_a_triggered_camera_decides_by_its_one_frame(tmp_path: Path) -> None:
    desk = Desk(tmp_path, config(on_trigger=True))
    desk.rule(GOOD, BAD, GOOD, (Outcome.UNCERTAIN, "gblur"))
    assert desk.rulings.quality("infeed") == "good"
    assert desk.events() == ["frame.rejected", "quality.degraded", "quality.recovered"]
    quality = desk.documents[0]["data"]["quality"]
    assert (quality["needed"], quality["window"], quality["recover_after"]) == (1, 1, 1)


def test_a_restart_neither_repeats_degraded_nor_forgets_recovered(desk: Desk) -> None:
    desk.rulings.begin_epoch("infeed", 4)
    desk.rule(BAD, BAD, stream_epoch=4)
    desk.events()
    desk.again()
    assert desk.rulings.next_epochs() == {"infeed": 5}
    assert desk.rulings.quality("infeed") == "degraded"
    desk.rulings.begin_epoch("infeed", 5)
    desk.rule(BAD, BAD, GOOD, GOOD, stream_epoch=5)
    assert desk.events()[3:] == ["frame.rejected", "frame.rejected", "quality.recovered"]


def test_an_epoch_without_events_is_not_used_again(desk: Desk) -> None:
    desk.rulings.begin_epoch("infeed", 9)
    desk.events()
    desk.again()
    assert desk.rulings.next_epochs() == {"infeed": 10}
    desk.outbox.close()


def test_the_newest_verdict_is_shown_and_counted(desk: Desk) -> None:
    desk.rule(GOOD, BAD)
    shown = desk.rulings.last("infeed")
    assert shown is not None
    assert (shown["verdict"], shown["label"], shown["sequence"]) == ("rejected", "gblur", 1)
    assert shown["probabilities"] == {"gblur": 0.97, "wn": 0.03}
    counted = desk.metrics.verdicts_total.labels("infeed", "rejected", "gblur")
    assert counted._value.get() == 1
    desk.outbox.close()


def test_what_the_engine_could_not_judge_is_no_judged_frame() -> None:
    failed = Verdict(Outcome.UNJUDGEABLE, cause=Cause.ENGINE_ERROR)
    assert result_of(failed) == "engine_error"
    assert result_of(Verdict(Outcome.UNJUDGEABLE, cause=Cause.DECODE)) == "judged"


def test_a_lost_camera_is_remembered_over_a_restart(desk: Desk) -> None:
    documents = Documents("packing-07", "inspect", desk.station.events.topics)
    counters = Counters(0, 0, dict.fromkeys(DROP_CAUSES, 0), 0)
    event = documents.camera_lost(
        "infeed", stream_epoch=1, cause="refused", detail="gone", counters=counters
    )
    desk.rulings.tell_of_camera("infeed", event, lost=True)
    desk.rule(BAD)
    desk.events()
    desk.again()
    assert desk.rulings.lost_cameras == {"infeed"}
    desk.outbox.close()


def test_a_stored_state_that_cannot_be_used_stops_no_station(desk: Desk) -> None:
    desk.outbox.append([], {"infeed": CameraState(3, {"window": "what is this"})}).result(60)
    desk.outbox.close()
    with capture_logs() as logs:
        desk.again()
    assert [line["event"] for line in logs] == ["the camera begins as good"]
    assert desk.rulings.next_epochs() == {"infeed": 4}
    desk.rule(BAD, BAD, stream_epoch=4)
    assert desk.rulings.quality("infeed") == "degraded"


def test_an_engine_that_fails_is_told_until_it_judges_again(desk: Desk) -> None:
    none = Counters(1, 1, dict.fromkeys(DROP_CAUSES, 0), 0)

    def rule(outcome: Outcome, cause: Cause | None) -> str | None:
        said = replace(verdict(outcome), cause=cause)
        desk.rulings.rule(frame(0), said, lambda _: none, _nothing)
        return desk.rulings.engine_fault

    assert rule(Outcome.UNJUDGEABLE, Cause.ENGINE_ERROR) == "because"
    assert rule(Outcome.UNJUDGEABLE, Cause.DECODE) == "because"  # the engine was not asked
    assert rule(Outcome.UNCERTAIN, None) is None


def two_cameras(policy: dict[str, object]) -> Station:
    cameras = {name: {"source": {"kind": "pattern"}} for name in ("infeed", "outfeed")}
    return Station.model_validate(
        {
            "version": 1,
            "station": "packing-07",
            "cameras": cameras,
            "policies": {"default": policy},
        }
    )


class _Cameras:
    """A capture stage of one camera, as the facts see it."""

    def __init__(self, state: str) -> None:
        self.state = state

    def status(self) -> dict[str, Any]:
        return {"infeed": SimpleNamespace(state=self.state, detail="")}


def test_a_camera_of_which_nothing_can_be_judged_is_not_well(desk: Desk) -> None:
    none = Counters(1, 1, dict.fromkeys(DROP_CAUSES, 0), 0)
    too_large = replace(
        verdict(Outcome.UNJUDGEABLE), cause=Cause.TOO_LARGE, reasons=("8 megapixels",)
    )
    failed = replace(verdict(Outcome.UNJUDGEABLE), cause=Cause.ENGINE_ERROR)

    def after(seconds: float, one: Verdict, state: str = "running") -> tuple[bool, str]:
        arrived = replace(frame(0), arrived_ns=round(seconds * 1e9))
        desk.rulings.rule(arrived, one, lambda _: none, _nothing)
        (fact,) = of_cameras(cast("Capture", _Cameras(state)), desk.rulings)
        assert not fact.gates
        return fact.ok, fact.detail

    well = (True, "running")
    assert after(100, too_large) == well
    assert after(109.9, too_large) == well
    said = "running, but none of its frames of the last 12 s could be judged: 8 megapixels"
    assert after(112, too_large) == (False, said)
    assert after(113, too_large, "stalled") == (False, "stalled")
    assert after(114, verdict(*BAD)) == well
    assert after(115, too_large) == well
    assert after(130, failed) == well, "that is the engine's fact"
    assert after(131, too_large) == well
    assert after(150, too_large)[0] is False
    desk.rulings.forget("infeed")
    assert desk.rulings.unjudged("infeed") is None


def test_another_policy_holds_from_the_next_frame_on(desk: Desk) -> None:
    desk.rule(BAD)
    desk.rulings.adopt(two_cameras({"needed": 5, "window": 9}))
    desk.rule(BAD, BAD, BAD)
    assert desk.rulings.quality("infeed") == "good"
    desk.rule(BAD)
    assert desk.rulings.quality("infeed") == "degraded", "what was in the window counts"
    desk.outbox.close()


def test_a_camera_that_returns_goes_on_where_it_was(desk: Desk) -> None:
    documents = Documents("packing-07", "inspect", desk.station.events.topics)
    counters = Counters(0, 0, dict.fromkeys(DROP_CAUSES, 0), 0)
    desk.rulings.begin_epoch("infeed", 4)
    desk.rule(BAD, BAD, stream_epoch=4)
    event = documents.camera_lost(
        "infeed", stream_epoch=4, cause="refused", detail="gone", counters=counters
    )
    desk.rulings.tell_of_camera("infeed", event, lost=True)
    desk.rulings.forget("infeed")
    assert desk.rulings.next_epochs() == {}
    assert (desk.rulings.quality("infeed"), desk.rulings.last("infeed")) == ("good", None)
    assert desk.rulings.lost_cameras == frozenset()
    desk.rulings.adopt(desk.station)
    assert desk.rulings.next_epochs() == {"infeed": 5}
    assert desk.rulings.quality("infeed") == "degraded"
    assert desk.rulings.lost_cameras == {"infeed"}
    desk.rule(GOOD, GOOD, stream_epoch=5)
    assert desk.events()[-1] == "quality.recovered"


def test_a_removed_camera_is_ruled_on_until_it_is_forgotten(desk: Desk) -> None:
    desk.rulings.adopt(two_cameras({}))
    only = two_cameras({}).model_copy(update={"cameras": {"outfeed": Camera(source=PATTERN)}})
    desk.rulings.adopt(only)
    desk.rule(BAD, BAD)
    assert desk.events()[:2] == ["frame.rejected", "frame.rejected"]


class Witnessed:
    """A desk whose station keeps evidence."""

    def __init__(self, folder: Path, desk: Desk, **settings: object) -> None:
        self.folder, self.desk, self.loans = folder, desk, Loans()
        self.evidence = Evidence(
            folder,
            Settings.model_validate(
                {"min_free_mb": 0, "per_minute": 100, "within_ms": 60_000, **settings}
            ),
            slots={"infeed": 60},
            stored=lambda _: {},
        )
        self.evidence.start()
        wait_until(lambda: self.evidence._keeper.open)
        desk.outbox.close()
        desk.again(self.evidence)
        self.count = 0

    def rule(self, *verdicts: tuple[Outcome, str | None]) -> None:
        none = Counters(1, 1, dict.fromkeys(DROP_CAUSES, 0), 0)
        for outcome, label in verdicts:
            self.count += 1
            said, release = verdict(outcome, label), self.loans.release(self.count)
            seen = self.loans.frame(self.count)
            self.desk.rulings.rule(seen, said, lambda _: none, release)

    def end(self) -> list[dict[str, Any]]:
        """All events, oldest first; ends everything as a station does."""
        self.evidence.settle(60)
        self.desk.outbox.append([]).result(60)
        events = list(reversed(self.desk.outbox.newest(100)))
        self.desk.outbox.close()
        self.evidence.close(60)
        assert sorted(self.loans.back) == list(range(1, self.count + 1)), "each frame once"
        return events

    def notes(self) -> list[dict[str, Any]]:
        return [json.loads(path.read_text()) for path in sorted(self.folder.rglob("*.json"))]


@pytest.fixture
def witnessed(tmp_path: Path, desk: Desk) -> Iterator[Witnessed]:
    made = Witnessed(tmp_path / "evidence", desk)
    yield made
    made.evidence.close(5)


def test_rejects_and_degraded_point_to_the_picture_of_their_frame(witnessed: Witnessed) -> None:
    witnessed.rule(GOOD, BAD, BAD, (Outcome.UNCERTAIN, "gblur"), GOOD, GOOD)
    events = witnessed.end()
    kept = [event["data"]["evidence"] for event in events]
    assert [event["type"].split(".")[-2] for event in events] == [
        "rejected",
        "rejected",
        "degraded",
        "recovered",
    ]
    assert kept[0] != kept[1] == kept[2]
    assert kept[3] is None
    assert events[0]["id"] in kept[0]["uri"]
    for event in events:
        schemas.check(event)
        assert event["data"]["no_evidence"] is None
    assert witnessed.notes() == events[:2], "the event beside the picture is the one that is sent"


def test_a_camera_that_becomes_degraded_gets_its_picture_though_its_minute_is_used_up(
    tmp_path: Path, desk: Desk
) -> None:
    room = Witnessed(tmp_path / "evidence", desk, per_minute=1)
    room.rule(BAD)
    room.evidence._pool.wait_idle(60)
    room.rule(BAD, BAD)
    first, second, degraded, third = (event["data"] for event in room.end())
    assert first["evidence"]
    assert second["evidence"] == degraded["evidence"] is not None
    assert (third["evidence"], third["no_evidence"]) == (None, "per_minute")


def test_a_policy_without_rejects_keeps_what_made_the_camera_degraded(tmp_path: Path) -> None:
    room = Witnessed(tmp_path / "evidence", Desk(tmp_path, config(emit="transitions")))
    room.rule(BAD, BAD, BAD)
    (degraded,) = room.end()
    assert degraded["id"] in degraded["data"]["evidence"]["uri"]
    assert room.notes() == [degraded]


def test_the_events_of_a_station_keep_their_order_whatever_becomes_of_their_pictures(
    witnessed: Witnessed,
) -> None:
    for _ in range(15):
        witnessed.rule(BAD, GOOD, BAD)
        witnessed.desk.rulings.begin_epoch("infeed", 1)
    events = witnessed.end()
    sequences = [e["data"]["sequence"] for e in events if e["type"].endswith("rejected.v1")]
    assert len(sequences) == 30
    assert sequences == sorted(sequences)
    for event in events:
        data = event["data"]
        assert (data["evidence"] is None) == (data["no_evidence"] is not None)


def test_uncertain_frames_are_kept_with_an_event_that_is_not_sent(
    tmp_path: Path, desk: Desk
) -> None:
    room = Witnessed(tmp_path / "evidence", desk, keep_uncertain=True)
    room.rule((Outcome.UNCERTAIN, "gblur"), GOOD)
    assert room.end() == []
    (note,) = room.notes()
    schemas.check(note)
    assert (note["type"], note["data"]["verdict"]) == ("inspector.frame.judged.v1", "uncertain")
    assert (room.folder / note["data"]["evidence"]["uri"]).is_file()


def test_a_picture_whose_event_was_given_up_is_removed(witnessed: Witnessed) -> None:
    witnessed.desk.outbox.close()
    with capture_logs() as logs:
        witnessed.rule(BAD)
        witnessed.evidence.settle(60)
    assert "verdict without its events" in [log["event"] for log in logs]
    witnessed.evidence.close(60)
    assert not list(witnessed.folder.rglob("*.jpg"))
    assert witnessed.loans.back == [1]


def test_a_frame_comes_back_though_its_ruling_fails(desk: Desk) -> None:
    back = []

    def counters(_camera: str) -> Counters:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        desk.rulings.rule(frame(0), verdict(*BAD), counters, lambda: back.append(1))
    assert back == [1]
    desk.outbox.close()
