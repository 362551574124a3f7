"""What people see of a station, over a real outbox."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from inspector.errors import MarkError
from inspector.marked import MarkedPictures
from inspector.observe.health import Health
from inspector.viewing import Viewing
from tests.events.making import Maker, frame, open_outbox, rejected

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from inspector.events.documents import Event
    from inspector.events.outbox import Outbox

LABELS = ("gblur", "refimgs", "wn")


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    box = open_outbox(tmp_path)
    yield box
    box.close()


@pytest.fixture
def viewing(tmp_path: Path, outbox: Outbox) -> Viewing:
    it = Viewing(
        tmp_path,
        MarkedPictures(tmp_path, None),
        status=lambda: {"station": "packing-07"},
        ready=Health().ready,
    )
    it.show(outbox, lambda: LABELS)
    return it


def told(outbox: Outbox, *kinds: str) -> list[Event]:
    make = Maker()
    events = [make(kind) for kind in kinds]
    outbox.append(events).result(60)
    return events


def ids(message: dict[str, Any]) -> list[str]:
    return [event["id"] for event in message["events"]]


def test_before_the_engine_is_there_the_page_knows_the_phase(tmp_path: Path) -> None:
    viewing = Viewing(
        tmp_path,
        MarkedPictures(tmp_path, None),
        status=lambda: {"phase": "starting"},
        ready=Health().ready,
    )
    hello = viewing._hello()
    assert (hello["events"], hello["labels"], hello["status"]) == ([], [], {"phase": "starting"})
    assert hello["ready"]["ok"] is False


def test_every_event_is_told_once_and_heartbeats_are_no_news(
    viewing: Viewing, outbox: Outbox
) -> None:
    first = told(outbox, "frame_rejected", "station_status")
    assert ids(viewing._update()) == [first[0].id]
    assert ids(viewing._hello()) == [first[0].id]
    second = told(outbox, "quality_degraded", "frame_rejected")
    assert ids(viewing._update()) == [event.id for event in second]
    assert ids(viewing._update()) == []
    assert ids(viewing._hello()) == [event.id for event in (first[0], *second)]


def test_an_event_is_told_in_short(viewing: Viewing, outbox: Outbox) -> None:
    (event,) = told(outbox, "frame_rejected")
    (short,) = viewing._update()["events"]
    assert short == {
        "id": event.id,
        "type": "inspector.frame.rejected.v1",
        "time": event.document["time"],
        "camera": "infeed",
        "verdict": "rejected",
        "label": "gblur",
        "reasons": ["gblur 0.970, threshold 0.900"],
        "probabilities": {"gblur": 0.97, "refimgs": 0.03},
    }


def test_a_mark_is_told_to_all_and_stands_in_the_next_greeting(
    viewing: Viewing, outbox: Outbox
) -> None:
    (event,) = told(outbox, "frame_rejected")
    answer = viewing.mark(event.id, "wrong", "refimgs")
    assert (answer["event"], answer["mark"], answer["label"]) == (event.id, "wrong", "refimgs")
    assert viewing._update()["marks"][event.id]["label"] == "refimgs"
    assert viewing._update()["marks"] == {}
    assert viewing._hello()["marks"][event.id]["mark"] == "wrong"
    assert viewing.mark(event.id, None, None) == {
        "event": event.id,
        "mark": None,
        "label": None,
        "marked_ms": None,
    }
    assert viewing._update()["marks"] == {event.id: None}
    assert viewing._hello()["marks"] == {}


def test_what_was_marked_can_be_marked_anew_when_the_outbox_has_forgotten_it(
    tmp_path: Path, viewing: Viewing, outbox: Outbox
) -> None:
    (event,) = told(outbox, "frame_rejected")
    viewing.mark(event.id, "right", None)
    elsewhere = open_outbox(tmp_path / "another")
    viewing.show(elsewhere, lambda: LABELS)
    assert viewing.mark(event.id, "wrong", "wn")["label"] == "wn"
    assert [each.label for each in viewing.marks.all()] == ["wn"]
    elsewhere.close()


@pytest.mark.parametrize(
    ("word", "label", "message"),
    [
        ("right", "wn", "a right verdict has its label"),
        ("wrong", "rust", "no label 'rust'; the engine knows gblur, refimgs, wn"),
        ("wrong", "gblur", "gblur is what the station said"),
    ],
)
def test_a_mark_that_makes_no_sense_is_refused(
    viewing: Viewing, outbox: Outbox, word: Any, label: str, message: str
) -> None:
    (event,) = told(outbox, "frame_rejected")
    with pytest.raises(MarkError, match=message) as refused:
        viewing.mark(event.id, word, label)
    assert refused.value.reason == "bad_label"
    assert viewing.marks.all() == []


def test_only_frames_that_are_known_can_be_marked(viewing: Viewing, outbox: Outbox) -> None:
    (lost,) = told(outbox, "camera_lost")
    with pytest.raises(MarkError, match="is about no picture that has a label"):
        viewing.mark(lost.id, "right", None)
    with pytest.raises(MarkError, match="there is no event x"):
        viewing.mark("x", "right", None)


def test_a_verdict_is_noted_and_its_frame_goes_back(viewing: Viewing) -> None:
    seen, back = frame(7), []
    viewing.saw(seen, rejected(), lambda: back.append(seen))()
    assert back == [seen]
    history = viewing._update()["history"]["cameras"]
    (row,) = history["infeed"]
    assert row[1:5] == [0, 1, 0, 0]
    assert row[5] > 0
    viewing.forget("infeed")
    assert viewing._update()["history"]["cameras"] == {}


def test_a_file_of_events_that_begins_anew_is_followed_again(
    tmp_path: Path, viewing: Viewing, outbox: Outbox
) -> None:
    told(outbox, *["frame_rejected"] * 5)
    viewing._update()
    anew = open_outbox(tmp_path / "anew")
    viewing.show(anew, lambda: LABELS)  # its rows count from 1 again
    told(anew, "frame_rejected")
    viewing._update()
    (event,) = told(anew, "frame_rejected")
    assert ids(viewing._update()) == [event.id]
    anew.close()
