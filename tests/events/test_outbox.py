from __future__ import annotations

import contextlib
import multiprocessing
import os
import sqlite3
import threading
import time
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from inspector.errors import EventsError, UserError
from inspector.events.opening import OutboxInUseError
from inspector.events.reading import Reader
from inspector.events.records import CameraState
from inspector.events.resending import Selection, resend
from inspector.events.store import FILE
from tests.events.making import open_outbox

if TYPE_CHECKING:
    from pathlib import Path

    from inspector.events.outbox import Outbox
    from inspector.events.writer import Commit
    from tests.events.making import Maker


def ids_of(folder: Path, condition: str = "seq > 0") -> list[str]:
    reader = Reader(folder / FILE)
    try:
        return [row.id for row in reader.rows(f"{condition} ORDER BY seq")]
    finally:
        reader.close()


def wait_until(condition: object, limit_s: float = 60.0) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "it never became true"
        time.sleep(0.005)


def test_events_are_durable_when_the_future_is_done(
    outbox: Outbox, folder: Path, make: Maker
) -> None:
    events = make.many(5)
    outbox.append(events).result(60)
    assert ids_of(folder) == [event.id for event in events]


def test_events_and_states_are_read_back_after_a_restart(folder: Path, make: Maker) -> None:
    first = open_outbox(folder)
    event = make()
    state = CameraState(4, {"degraded": True, "window": [1, 1, 1]})
    first.append([event], {"infeed": state}).result(60)
    first.append([], {"outfeed": CameraState(1)})
    assert first.close()
    second = open_outbox(folder)
    assert second.states() == {"infeed": state, "outfeed": CameraState(1)}
    assert second.stats().waiting == 1
    assert [row.id for row in second.hand_out(0, 10)] == [event.id]
    second.close()


def test_the_stream_epoch_never_goes_back(folder: Path) -> None:
    for epoch in (5, 3):
        box = open_outbox(folder)
        box.append([], {"infeed": CameraState(epoch, {"n": epoch})}).result(60)
        box.close()
    box = open_outbox(folder)
    assert box.states() == {"infeed": CameraState(5, {"n": 3})}
    box.close()


def test_order_is_that_of_append_from_many_threads(folder: Path, make: Maker) -> None:
    commits: list[Commit] = []
    box = open_outbox(folder, on_commit=commits.append)
    rows = {camera: make.many(150, camera=camera) for camera in "abcd"}

    def feed(camera: str) -> None:
        for event in rows[camera]:
            box.append([event])

    threads = [threading.Thread(target=feed, args=(camera,)) for camera in rows]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert box.close()
    for camera, events in rows.items():
        assert ids_of(folder, f"key LIKE '%/{camera}'") == [event.id for event in events]
    assert sum(commit.events for commit in commits) == 600
    assert len(commits) < 600, "what arrives during a commit shares the next one"
    assert all(commit.waited_s >= commit.commit_s > 0 for commit in commits)


def test_the_same_event_twice_is_kept_once(outbox: Outbox, folder: Path, make: Maker) -> None:
    event = make()
    outbox.append([event])
    outbox.append([event]).result(60)
    assert ids_of(folder) == [event.id]


def test_a_document_that_is_no_json_is_refused_at_once(outbox: Outbox, make: Maker) -> None:
    event = make()
    event.document["data"]["pts_s"] = float("inf")
    with pytest.raises(EventsError, match=r"frame\.rejected.*cannot be written as JSON"):
        outbox.append([event])
    assert outbox.stats().appended_total == 0


def test_a_closed_outbox_takes_nothing(folder: Path, make: Maker) -> None:
    box = open_outbox(folder)
    box.close()
    with pytest.raises(EventsError, match="closed"):
        box.append([make()])
    assert (box.newest(3), box.stats().waiting) == ([], 0)


def test_newest_gives_documents_newest_first(outbox: Outbox, make: Maker) -> None:
    events = make.many(3)
    outbox.append(events).result(60)
    assert outbox.newest(2) == [events[2].document, events[1].document]


def test_the_id_of_the_newest_event_is_told(
    folder: Path, make: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever came last: a box may have started since with its clock behind."""
    box = open_outbox(folder)
    assert box.newest_id() is None
    now, newest = make(), 9_000_000_000_123
    with monkeypatch.context() as ahead:
        ahead.setattr("inspector.events.ids.time.time_ns", lambda: newest * 1_000_000)
        event = make()
    box.append([event, now, make()]).result(60)
    assert box.newest_id() == event.document["id"]
    assert UUID(event.document["id"]).int >> 80 == newest
    assert box.close()
    assert box.newest_id() is None


def test_the_publisher_gets_each_row_once_until_it_gives_it_back(
    outbox: Outbox, make: Maker
) -> None:
    events = make.many(4)
    outbox.append(events).result(60)
    first = outbox.hand_out(0, 2)
    assert [row.id for row in first] == [e.id for e in events[:2]]
    assert [row.id for row in outbox.hand_out(0, 9)] == [e.id for e in events[2:]]
    assert outbox.hand_out(0, 9) == []
    outbox.take_back([first[1].seq])
    assert [row.id for row in outbox.hand_out(0, 9)] == [events[1].id]


def test_sent_and_parked_events_wait_no_more(outbox: Outbox, folder: Path, make: Maker) -> None:
    outbox.append(make.many(3)).result(60)
    rows = outbox.hand_out(0, 9)
    outbox.mark_sent([rows[0].seq])
    outbox.park(rows[1].seq, "too large")
    wait_until(lambda: outbox.stats().waiting == 1)
    stats = outbox.stats()
    assert (stats.parked, stats.sent_total, stats.parked_total) == (1, 1, 1)
    assert ids_of(folder, "state = 2 AND reason = 'too large'") == [rows[1].id]
    outbox.take_back([row.seq for row in rows])
    assert [row.id for row in outbox.hand_out(0, 9)] == [rows[2].id]


def test_blocked_topics_are_left_out(outbox: Outbox, make: Maker) -> None:
    a, b = make("frame_rejected"), make("frame_judged")
    outbox.append([a, b]).result(60)
    assert [row.id for row in outbox.hand_out(0, 9, [a.topic])] == [b.id]


def test_the_age_of_the_oldest_waiting_event_is_told(outbox: Outbox, make: Maker) -> None:
    assert outbox.stats().oldest_s == 0
    outbox.append([make()]).result(60)
    time.sleep(0.05)
    assert 0.05 <= outbox.stats().oldest_s < 10


def test_sent_events_are_deleted_after_their_time(folder: Path, make: Maker) -> None:
    box = open_outbox(folder, keep_s=0.0)
    box.append(make.many(3)).result(60)
    box.mark_sent([row.seq for row in box.hand_out(0, 2)])
    wait_until(lambda: box.stats().waiting == 1)
    time.sleep(0.01)
    box._writer._last_purge = float("-inf")
    wait_until(lambda: len(ids_of(folder)) == 1)
    box.close()


def test_a_second_station_on_the_same_folder_is_refused(outbox: Outbox, folder: Path) -> None:
    with pytest.raises(OutboxInUseError, match=rf"in use by process {os.getpid()}.*own `state`"):
        open_outbox(folder)
    assert not issubclass(OutboxInUseError, UserError), "a process that hangs in a disk may go yet"


def _hold(folder: Path, ready: multiprocessing.synchronize.Event) -> None:
    open_outbox(folder)
    ready.set()
    time.sleep(60)


def test_the_folder_of_a_killed_station_is_free(folder: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    child = context.Process(target=_hold, args=(folder, ready))
    child.start()
    assert ready.wait(60)
    with pytest.raises(OutboxInUseError, match=f"process {child.pid}"):
        open_outbox(folder)
    child.kill()
    child.join()
    open_outbox(folder).close()


def test_a_closed_outbox_leaves_no_log_of_changes(folder: Path, make: Maker) -> None:
    box = open_outbox(folder)
    box.append(make.many(50)).result(60)
    with contextlib.closing(sqlite3.connect(folder / FILE)) as reader:
        assert reader.execute("SELECT count(*) FROM events").fetchone() == (50,)
        assert box.close()
        assert (folder / f"{FILE}-wal").stat().st_size == 0


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file/state cannot be made: Not a directory"):
        open_outbox(tmp_path / "file" / "state")


def test_a_file_that_cannot_be_opened_is_the_users_to_mend(folder: Path) -> None:
    (folder / FILE).mkdir(parents=True)
    with pytest.raises(UserError, match=r"cannot be opened: unable to open .* must be able to"):
        open_outbox(folder)


def test_a_file_of_a_newer_version_is_left_alone(folder: Path) -> None:
    open_outbox(folder).close()
    db = sqlite3.connect(folder / FILE)
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(UserError, match="format 99, this version knows 1: update"):
        open_outbox(folder)
    assert [p.name for p in folder.glob("*.corrupt*")] == []


def test_resend_by_another_process_is_noticed(outbox: Outbox, folder: Path, make: Maker) -> None:
    events = make.many(4)
    outbox.append(events).result(60)
    rows = outbox.hand_out(0, 9)
    outbox.mark_sent([row.seq for row in rows[:3]])
    outbox.park(rows[3].seq, "too large")
    wait_until(lambda: outbox.stats().waiting == 0)
    before = outbox.resends()
    assert resend(folder / FILE, Selection(ids=[events[1].id, events[3].id])) == 2
    assert outbox.resends() != before
    again = outbox.hand_out(0, 9)
    assert [(row.id, bool(row.replay)) for row in again] == [
        (events[1].id, True),
        (events[3].id, False),  # it never arrived, so it is no replay
    ]


def test_resend_leaves_waiting_events_alone(outbox: Outbox, folder: Path, make: Maker) -> None:
    outbox.append(make.many(2)).result(60)
    assert resend(folder / FILE, Selection()) == 0
