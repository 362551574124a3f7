"""The way of a picture: from its slot to its file, or to the cause why there is none."""

from __future__ import annotations

import hashlib
import json
import threading
from concurrent.futures import wait
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from inspector.evidence import store
from inspector.evidence.naming import parse
from inspector.evidence.store import Kept, Kind
from tests.evidence.making import DAY_MS, Room, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.mark.parametrize("form", ["jpeg", "png", "webp"])
def test_the_very_frame_is_kept_beside_its_event(room_of: Callable[..., Room], form: str) -> None:
    room = room_of(format=form)
    kept = room.kept()
    assert kept.name.uri.startswith("2023-11-14/infeed/")
    path = room.folder / kept.name.uri
    assert hashlib.sha256(path.read_bytes()).hexdigest() == kept.sha256
    assert kept.to_json()["media_type"] == f"image/{form}"
    pixels = room.loans.frame(room.number).picture()
    read = cv2.imread(str(path))
    assert read is not None
    if form == "jpeg":
        assert read.shape == pixels.shape
    else:
        np.testing.assert_array_equal(read, pixels)
    (line,) = (room.folder / kept.name.note.uri).read_text().splitlines()
    assert json.loads(line) == {"id": kept.name.event_id}
    assert room.files() == sorted([kept.name.uri, kept.name.note.uri])


def test_it_is_served_by_its_uri_and_by_nothing_else(room: Room) -> None:
    kept = room.kept()
    served = room.evidence.picture(kept.name.uri)
    assert served is not None
    assert (served.sha256, served.media_type) == (kept.sha256, "image/jpeg")
    note = room.evidence.picture(kept.name.note.uri)
    assert note is not None
    assert note.media_type == "application/json"
    (room.folder.parent / "secret.jpg").write_bytes(b"secret")
    uri = kept.name.uri
    day, camera, file = uri.split("/")
    for strange in (
        "",
        "/" + uri,
        uri + "/",
        f"{day}/./{camera}/{file}",
        f"{day}/{camera}/../{camera}/{file}",
        f"../evidence/{uri}",
        "../secret.jpg",
        "evidence.lock",
        f"{day}/{camera}/.{file}.part",
        f"2023-11-15/{camera}/{file}",
        uri.upper(),
        uri.replace("jpg", "png"),
        uri + "\n",
        uri + "\0",
    ):
        assert room.evidence.picture(strange) is None, strange
    assert parse("9999-12-31/infeed/ffffffff-ffff-7fff-bfff-ffffffffffff.jpg") is None


def test_a_link_is_not_followed(room: Room, tmp_path: Path) -> None:
    kept = room.kept()
    path = room.folder / kept.name.uri
    path.unlink()
    (tmp_path / "secret").write_bytes(b"secret")
    path.symlink_to(tmp_path / "secret")
    assert room.evidence.picture(kept.name.uri) is None


def test_so_many_a_minute_each_camera_and_kind_for_itself(room_of: Callable[..., Room]) -> None:
    room = room_of(per_minute=2)
    for _ in range(2):
        room.kept()
    assert room.cause() == "per_minute"
    room.kept("outfeed")
    room.kept("infeed", Kind.UNCERTAIN)
    room.kept("infeed", Kind.REJECTED, Kind.DEGRADED)  # the second reason pays
    room.now_s = 59.9
    assert room.cause() == "per_minute"
    room.now_s = 60.0
    room.kept()
    cameras = room.evidence.stats().cameras
    assert cameras["infeed"]["written"] == 5
    assert cameras["infeed"]["skipped"] == {"per_minute": 2}
    assert cameras["outfeed"]["written"] == 1


def test_each_frame_comes_back_once_and_is_free_before_the_disk_is_asked(
    room_of: Callable[..., Room], monkeypatch: pytest.MonkeyPatch
) -> None:
    room = room_of(per_minute=100)
    held, write = threading.Event(), room.evidence._folder.write
    monkeypatch.setattr(room.evidence._folder, "write", lambda *a: held.wait(60) and write(*a))
    waiting = room.keep()
    with room.loans.all_back:
        assert room.loans.all_back.wait_for(lambda: room.loans.back == [1], 60)
    assert not waiting.done()
    held.set()
    assert isinstance(waiting.result(60), Kept)
    futures = [room.keep(camera) for camera in ("infeed", "outfeed") for _ in range(30)]
    wait(futures, 60)
    room.evidence.settle(60)
    assert sorted(room.loans.back) == list(range(1, 62))


def test_a_camera_may_hold_a_third_of_its_slots(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = threading.Event()
    encode = store.encode
    monkeypatch.setattr(store, "encode", lambda *a: held.wait(60) and encode(*a))
    first, second = room.keep(), room.keep()
    assert room.cause() == "busy"
    assert room.loans.back == [3]
    other = room.keep("outfeed")
    held.set()
    assert all(isinstance(each.result(60), Kept) for each in (first, second, other))
    assert sorted(room.loans.back) == [1, 2, 3, 4]


def test_a_third_of_the_slots_of_now_whenever_the_camera_came_or_changed(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = threading.Event()
    encode = store.encode
    monkeypatch.setattr(store, "encode", lambda *a: held.wait(60) and encode(*a))
    waiting = [room.keep("new")]
    assert room.cause("new") == "busy", "nothing is known of it: one"
    room.evidence.adopt({"infeed": 9, "new": 6})
    waiting += [room.keep("new"), room.keep(), room.keep(), room.keep()]
    assert room.cause() == room.cause("new") == "busy"
    waiting += [room.keep("outfeed"), room.keep("outfeed")]
    held.set()
    assert all(isinstance(each.result(60), Kept) for each in waiting)


def test_a_camera_that_is_gone_is_counted_no_more_and_its_pictures_stay(
    room_of: Callable[..., Room],
) -> None:
    room = room_of(per_minute=1)
    kept = room.kept("outfeed")
    assert room.cause("outfeed") == "per_minute"
    room.evidence.forget("outfeed")
    left = room.evidence.stats().cameras["outfeed"]
    assert (left["files"], left["written"], left["skipped"]) == (1, 0, {})
    assert room.evidence.picture(kept.name.uri) is not None
    room.evidence.adopt({"outfeed": 6})
    room.kept("outfeed")
    assert room.evidence.stats().cameras["outfeed"]["written"] == 1


def test_the_queue_is_bounded(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    held = threading.Event()
    encode = store.encode
    monkeypatch.setattr(store, "encode", lambda *a: held.wait(60) and encode(*a))
    room.slots |= {f"cam-{i}": 3 for i in range(40)}
    room.evidence._slots = room.slots
    futures = [room.keep(f"cam-{i}") for i in range(40)]
    refused = [future for future in futures if future.done()]
    assert 40 - store.MOST_JOBS - store.THREADS <= len(refused) <= 40 - store.MOST_JOBS
    held.set()
    wait(futures, 60)
    wait_until(lambda: len(room.loans.back) == 40)


def test_an_event_waits_no_longer_than_it_should_for_a_slow_disk(
    room_of: Callable[..., Room], monkeypatch: pytest.MonkeyPatch
) -> None:
    room = room_of(within_ms=4000)
    held, at_work, write = threading.Event(), [], room.evidence._folder.write

    def hanging(*given: Any) -> Any:
        at_work.append(given)
        return held.wait(60) and write(*given)

    monkeypatch.setattr(room.evidence._folder, "write", hanging)
    waiting = [room.keep(), room.keep()]
    wait_until(lambda: len(at_work) == 2)
    assert [future.result(60) for future in waiting] == [store.Skipped(store.Skip.LATE)] * 2
    # Both threads wait for the disk: the next event is not kept waiting at all.
    assert room.cause() == "busy"
    assert sorted(room.loans.back) == [1, 2, 3]
    held.set()
    wait_until(lambda: not room.evidence._pool._since)
    assert room.files() == []  # nobody had waited for them
    room.kept()
    skipped = room.evidence.stats().cameras["infeed"]["skipped"]
    assert skipped == {"late": 2, "busy": 1}


def hold_encoders(monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, list[Any]]:
    """Encoders that wait for the event, and what they have begun to encode."""
    held, begun, encode = threading.Event(), [], store.encode

    def hanging(*given: Any) -> Any:
        begun.append(given)
        return held.wait(60) and encode(*given)

    monkeypatch.setattr(store, "encode", hanging)
    return held, begun


def test_what_waits_for_an_encoder_too_long_gives_its_slot_back(
    room_of: Callable[..., Room], monkeypatch: pytest.MonkeyPatch
) -> None:
    room = room_of(within_ms=4000)
    held, begun = hold_encoders(monkeypatch)
    at_work = [room.keep(), room.keep()]
    wait_until(lambda: len(begun) == 2)
    queued = room.keep("outfeed")
    assert queued.result(60) == store.Skipped(store.Skip.LATE)
    wait_until(lambda: room.loans.back == [3])
    held.set()
    wait(at_work, 60)
    wait_until(lambda: sorted(room.loans.back) == [1, 2, 3])


def test_at_the_stop_nothing_is_waited_for_beyond_the_deadline(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, begun = hold_encoders(monkeypatch)
    futures = [room.keep(), room.keep(), room.keep("outfeed")]
    wait_until(lambda: len(begun) == 2)
    assert not room.evidence.settle(0.05)
    assert {future.result(0) for future in futures} == {store.Skipped(store.Skip.SHUTDOWN)}
    assert room.loans.back == [3]
    assert room.cause() == "shutdown"
    held.set()
    wait_until(lambda: sorted(room.loans.back) == [1, 2, 3, 4])
    room.evidence.close(5)
    assert room.files() == []


def test_at_the_stop_what_is_on_its_way_is_finished_and_sealed(room: Room) -> None:
    future = room.keep()
    assert room.evidence.settle(60)
    kept = future.result(0)
    assert isinstance(kept, Kept)
    room.evidence.seal(kept, {"id": 1})
    room.evidence.close(20)
    assert room.files() == sorted([kept.name.uri, kept.name.note.uri])


def test_a_picture_that_the_format_cannot_hold_is_told(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cv2, "imencode", lambda *_: (False, None))
    assert room.cause() == "failed"
    assert room.loans.back == [1]


def test_a_kill_leaves_nothing_half_done(room: Room) -> None:
    """A picture is put right by what the outbox knows of its event."""
    whole, torn, undecided = (room.keep().result(60) for _ in range(3))
    assert isinstance(whole, Kept)
    assert isinstance(torn, Kept)
    assert isinstance(undecided, Kept)
    sealed = room.kept()
    room.evidence.close(5)
    for kept in (whole, torn):
        event = {"id": kept.name.event_id, "data": {"evidence": kept.to_json()}}
        room.stored[kept.name.event_id] = event
    (room.folder / torn.name.uri).write_bytes(b"")
    place = (room.folder / sealed.name.uri).parent
    part = place / f".{undecided.name.file}.part"
    part.write_bytes(b"half")
    lonely = place / undecided.name.note.file.replace("7000", "7001")
    lonely.write_text("{}")
    strange = place / "notes.txt"
    strange.write_text("not ours")
    room.again()
    left = [whole.name.uri, whole.name.note.uri, sealed.name.uri, sealed.name.note.uri]
    assert room.files() == sorted([*left, str(strange.relative_to(room.folder))])
    assert (
        json.loads((room.folder / whole.name.note.uri).read_text())
        == room.stored[whole.name.event_id]
    )
    stats = room.evidence.stats()
    assert (stats.files, stats.bytes) == (2, _taken(room, left))


def test_a_picture_whose_event_the_outbox_has_forgotten_stays(room: Room) -> None:
    """Its event could not be written beside it, and may long have been published with its uri."""
    kept = room.keep().result(60)
    assert isinstance(kept, Kept)
    room.now_ms += 25 * 3_600_000
    room.again()
    assert room.files() == [kept.name.uri]


@pytest.mark.parametrize(
    ("behind_days", "newest_days"), [(20, None), (1e4, None), (9.9, 0.5), (10.5, 0.5)]
)
def test_a_clock_that_is_behind_at_the_start_makes_no_old_picture_a_new_one(
    room: Room, behind_days: float, newest_days: float | None
) -> None:
    """A box without a battery for its clock; the picture is ten days old, and stays."""
    kept = room.keep().result(60)
    assert isinstance(kept, Kept)
    today = room.now_ms + 10 * DAY_MS
    room.now_ms = round(today - behind_days * DAY_MS)
    if newest_days is not None:  # the outbox knows that it cannot be so early
        room.newest_ms = round(today - newest_days * DAY_MS)
    room.again()
    assert room.files() == [kept.name.uri]
    room.now_ms = today
    room.again()
    assert room.files() == [kept.name.uri]


def test_a_picture_that_cannot_be_read_does_not_keep_the_evidence_closed(room: Room) -> None:
    kept = room.keep().result(60)
    assert isinstance(kept, Kept)
    room.evidence.close(5)
    room.stored[kept.name.event_id] = {"data": {"evidence": kept.to_json()}}
    place = room.folder / kept.name.uri
    place.unlink()
    place.symlink_to(place)
    room.again()
    room.kept()
    assert room.evidence.stats().fault is None


def _taken(room: Room, uris: list[str]) -> int:
    return sum(-(-(room.folder / uri).stat().st_size // 4096) * 4096 for uri in uris)


def test_the_tally_is_that_of_the_folder(room: Room) -> None:
    kept = [room.kept() for _ in range(3)]
    uris = [uri for each in kept for uri in (each.name.uri, each.name.note.uri)]
    wait_until(lambda: room.evidence.stats().bytes == _taken(room, uris))
    room.evidence.discard(kept[0])
    wait_until(lambda: room.evidence.stats().bytes == _taken(room, uris[2:]))
    assert room.evidence.stats().cameras["infeed"]["files"] == 2
    room.again()
    assert room.evidence.stats().bytes == _taken(room, uris[2:])


def test_it_starts_while_pictures_come(tmp_path: Path) -> None:
    room = Room(tmp_path / "evidence")
    assert room.cause() == "starting"
    room.open()
    room.kept()
    room.evidence.close(5)
