"""Events reach the outbox in order per camera, though some wait for their picture."""

from __future__ import annotations

from concurrent.futures import Future
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from inspector import handover
from inspector.events.outbox import CameraState
from inspector.evidence.naming import Name
from inspector.evidence.outcome import Kept, Outcome, Skip, Skipped
from inspector.handover import Handover, Parcel
from tests.events.making import Maker, open_outbox
from tests.evidence.making import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from inspector.events.documents import Event
    from inspector.events.outbox import Outbox


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    box = open_outbox(tmp_path)
    yield box
    box.close()


@pytest.fixture
def make() -> Maker:
    return Maker()


def stored(outbox: Outbox) -> list[str]:
    outbox.append([]).result(60)
    return [event["id"] for event in reversed(outbox.newest(100))]


def kept(event: Event) -> Kept:
    return Kept(Name("infeed", event.id, "png"), "ab" * 32)


def test_later_events_of_a_camera_wait_behind_its_picture_and_no_others(
    outbox: Outbox, make: Maker
) -> None:
    line = Handover(outbox)
    first, second, third, other = *make.many(3), make(camera="outfeed")
    picture: Future[Outcome] = Future()
    third_picture: Future[Outcome] = Future()
    line.put("infeed", Parcel([first], {"infeed": CameraState(1)}, picture))
    line.put("infeed", Parcel([second], {"infeed": CameraState(2)}))
    line.put("infeed", Parcel([third], {"infeed": CameraState(3)}, third_picture))
    line.put("outfeed", Parcel([other], {}))
    assert stored(outbox) == [other.id]
    third_picture.set_result(Skipped(Skip.BUSY))
    assert stored(outbox) == [other.id]
    picture.set_result(kept(first))
    assert stored(outbox) == [other.id, first.id, second.id, third.id]
    data = [event["data"] for event in reversed(outbox.newest(3))]
    assert data[0]["evidence"]["uri"].endswith(f"/infeed/{first.id}.png")
    assert data[0]["no_evidence"] is None
    assert (data[1]["evidence"], data[1]["no_evidence"]) == (None, None)
    assert (data[2]["evidence"], data[2]["no_evidence"]) == (None, "busy")


def test_the_states_follow_in_the_order_of_the_decisions(make: Maker, tmp_path: Path) -> None:
    outbox = open_outbox(tmp_path)
    line = Handover(outbox)
    picture: Future[Outcome] = Future()
    line.put("infeed", Parcel([make()], {"infeed": CameraState(1)}, picture))
    line.put("infeed", Parcel([], {"infeed": CameraState(2)}))
    picture.set_result(Skipped(Skip.LATE))
    stored(outbox)
    outbox.close()
    again = open_outbox(tmp_path)
    assert again.states() == {"infeed": CameraState(2)}
    again.close()


def test_it_is_told_when_the_events_are_on_disk(outbox: Outbox, make: Maker) -> None:
    line, ends = Handover(outbox), []
    event = make()
    picture: Future[Outcome] = Future()
    picture.set_result(kept(event))
    line.put("infeed", Parcel([event], {}, picture, lambda *end: ends.append(end)))
    wait_until(lambda: ends)
    assert ends == [(kept(event), True)]
    assert stored(outbox) == [event.id]


def test_an_outbox_that_takes_no_more_is_told_and_stops_nobody(make: Maker, tmp_path: Path) -> None:
    outbox = open_outbox(tmp_path)
    line, ends = Handover(outbox), []
    outbox.close()
    with capture_logs() as logs:
        line.put("infeed", Parcel([make()], {}, None, lambda *end: ends.append(end)))
    assert [log["event"] for log in logs] == ["verdict without its events"]
    assert ends == [(None, False)]


def test_the_line_is_bounded(outbox: Outbox, make: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover, "MOST_WAITING", 5)
    line = Handover(outbox)
    events = make.many(8)
    pictures: list[Future[Outcome]] = [Future() for _ in events]
    for event, picture in zip(events, pictures, strict=True):
        line.put("infeed", Parcel([event], {}, picture))
    assert stored(outbox) == [event.id for event in events[:3]]
    assert outbox.newest(1)[0]["data"]["no_evidence"] == "late"
    for picture in pictures[3:]:
        picture.set_result(Skipped(Skip.SHUTDOWN))
    assert stored(outbox) == [event.id for event in events]
