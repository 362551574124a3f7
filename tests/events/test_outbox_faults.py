"""The disk takes nothing, or gives back something else than was written."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from inspector.errors import EventsError, UserError
from inspector.events.kinds import EVENTS_DROPPED
from inspector.events.opening import LOCK, OutboxUnusableError
from inspector.events.pending import Pending
from inspector.events.reading import Reader
from inspector.events.records import CameraState
from inspector.events.store import FILE
from tests.events.making import Maker, damage_ids, open_outbox
from tests.events.test_outbox import ids_of, wait_until
from tests.events.test_outbox_bounds import gaps
from tests.rights import only_as_the_mode_says
from tests.servers.disk import occupy

if TYPE_CHECKING:
    from pathlib import Path

    from inspector.events.outbox import Outbox
    from tests.servers.disk import RealDisk


def test_a_full_disk_loses_nothing_that_fits_in_memory(small_disk: Path, make: Maker) -> None:
    folder = small_disk / "state"
    box = open_outbox(folder)
    before, during = make.many(20), make.many(1500)
    box.append(before).result(60)
    hog = occupy(small_disk)
    with capture_logs() as logs:
        futures = [box.append([event], {"infeed": CameraState(3)}) for event in during]
        wait_until(lambda: box.stats().fault is not None)
        time.sleep(0.5)
    assert "disk" in (box.stats().fault or "")
    assert box.stats().in_memory > 0
    assert len([log for log in logs if log["log_level"] == "error"]) == 1, (
        "told once, then at times"
    )
    hog.unlink()
    for future in futures:
        future.result(60)
    wait_until(lambda: box.stats().fault is None)
    assert box.stats().shed_total == 0
    assert box.close()
    assert ids_of(folder) == [event.id for event in before + during]


def test_what_memory_cannot_hold_is_shed_in_order_and_told(small_disk: Path, make: Maker) -> None:
    folder = small_disk / "state"
    box = open_outbox(folder, pending=Pending(max_records=100))
    box.append(make.many(20)).result(60)
    hog = occupy(small_disk)
    # The station gives up its own log's space to write on; somebody else takes that as well.
    for _ in range(1000):
        box.append([make()])
        occupy(small_disk)
        time.sleep(0.01)
        if box.stats().in_memory >= 90 and box.stats().fault:
            break
    assert box.stats().fault
    judged, degraded = make.many(30, "frame_judged"), make("quality_degraded")
    futures = [box.append([event]) for event in [*judged, degraded, *make.many(200)]]
    shed = box.stats().shed_total
    assert shed >= 30
    hog.unlink()
    futures[-1].result(60)
    futures[30].result(60)
    with pytest.raises(EventsError, match="given up: the disk took nothing"):
        futures[0].result(60)
    wait_until(lambda: bool(gaps(folder)))
    box.close()
    assert degraded.id in ids_of(folder)
    assert not set(ids_of(folder)) & {event.id for event in judged}
    told = gaps(folder)
    assert sum(gap["count"] for gap in told) == shed == box.stats().shed_total
    assert {gap["cause"] for gap in told} == {"memory_full"}


def test_a_stop_with_a_full_disk_ends_and_says_what_was_lost(small_disk: Path, make: Maker) -> None:
    box = open_outbox(small_disk / "state")
    occupy(small_disk)
    for event in make.many(1500):
        box.append([event])
    wait_until(lambda: box.stats().fault is not None)
    with capture_logs() as logs:
        assert not box.close(0.5)
    (lost,) = [log for log in logs if "lost" in log["event"]]
    assert lost["events"] > 0


def test_a_start_on_a_full_disk_is_no_mistake_of_the_users(small_disk: Path, make: Maker) -> None:
    """Else the service manager would not start the station again when there is room."""
    folder = small_disk / "state"
    box = open_outbox(folder)
    event = make()
    box.append([event]).result(60)
    box.close()
    hog = occupy(small_disk)
    with pytest.raises(EventsError, match="must have room") as told:
        open_outbox(folder)
    assert not isinstance(told.value, UserError)
    hog.unlink()
    open_outbox(folder).close()
    assert ids_of(folder) == [event.id]


def test_a_disk_that_fails_for_good_keeps_what_was_durable(
    real_disk: RealDisk, make: Maker
) -> None:
    """It becomes read-only: what comes later waits, is told, and at the stop counted as lost."""
    folder = real_disk.at / "state"
    box = open_outbox(folder)
    before, after = make.many(50), make.many(5)
    box.append(before).result(60)
    real_disk.fail()
    waiting = box.append(after)
    wait_until(lambda: box.stats().fault is not None)
    assert box.stats().in_memory == 5
    assert not waiting.done()
    with capture_logs() as logs:
        assert not box.close(1.0)
    (lost,) = [log for log in logs if log["event"] == "events were lost at the stop"]
    assert lost["events"] == 5
    with pytest.raises(EventsError, match=r"Read-only file system.* remount,rw.*Paths=") as told:
        open_outbox(folder)
    assert not isinstance(told.value, UserError), "it is tried again, and somebody may mend it"
    real_disk.repair()
    open_outbox(folder).close()
    assert ids_of(folder) == [event.id for event in before]


def test_a_disk_that_can_hold_no_new_file_is_full_too(small_disk: Path, make: Maker) -> None:
    """SQLite only says that it cannot open a file, as it does where one must not."""
    folder = small_disk / "state"
    box = open_outbox(folder)
    event = make()
    box.append([event]).result(60)
    box.close()
    for beside in folder.glob(f"{FILE}-*"):  # as after an orderly end
        beside.unlink()
    disk = os.statvfs(small_disk)
    _remount(small_disk, f"nr_inodes={disk.f_files - disk.f_ffree}")
    with pytest.raises(EventsError, match=r"\(No space left on device\).* must have room") as told:
        open_outbox(folder)
    assert not isinstance(told.value, UserError)
    _remount(small_disk, "nr_inodes=1000")
    open_outbox(folder).close()
    assert ids_of(folder) == [event.id]
    assert not list(folder.glob("*.probe"))


def test_a_place_without_the_folder_that_is_read_only_is_a_mistake(small_disk: Path) -> None:
    """As `state:` that is not the unit's own; where a disk failed the folder is there."""
    _remount(small_disk, "ro")
    with pytest.raises(OutboxUnusableError, match="cannot be made: Read-only file system"):
        open_outbox(small_disk / "state")


@pytest.mark.skipif(os.geteuid() != 0, reason="to give a file to another user takes root")
@pytest.mark.parametrize("file", [LOCK, FILE])
def test_a_file_of_another_user_is_told_with_its_owner(folder: Path, file: str) -> None:
    """One that `sudo inspector` made, to the service; here the other way round."""
    open_outbox(folder).close()
    (folder / file).chmod(0o400)
    os.chown(folder / file, 12345, -1)
    said = (
        f"{folder / file} belongs to user 12345, and this process runs as root: give it what lies"
        f" there (sudo chown -R root {folder}), or run this as user 12345"
    )
    with only_as_the_mode_says(), pytest.raises(OutboxUnusableError) as told:
        open_outbox(folder)
    assert said in str(told.value)


def test_a_disk_that_hangs_delays_and_loses_nothing(real_disk: RealDisk, make: Maker) -> None:
    folder = real_disk.at / "state"
    box = open_outbox(folder)
    events = make.many(300)
    box.append(events[:10]).result(60)
    with real_disk.hanging():
        futures = [box.append([event]) for event in events[10:]]
        time.sleep(1.0)  # how long it hangs; whoever hands events over does not
        assert not any(future.done() for future in futures)
        assert box.stats().in_memory == 290
    for future in futures:
        future.result(60)
    assert box.close()
    assert ids_of(folder) == [event.id for event in events]


@pytest.mark.parametrize("damage", ["garbage", "torn"])
def test_a_broken_file_is_kept_aside_and_a_new_one_begun(
    folder: Path, make: Maker, damage: str
) -> None:
    box = open_outbox(folder)
    box.append(make.many(300), {"infeed": CameraState(6)}).result(60)
    box.close()
    path = folder / FILE
    if damage == "garbage":
        path.write_bytes(os.urandom(50_000))
    else:
        with path.open("r+b") as file:
            file.seek(8192 * 12)
            file.write(b"\xff" * 8192 * 20)
    with capture_logs() as logs:
        box = open_outbox(folder)
    (aside,) = folder.glob("outbox.corrupt-*.db")
    (log,) = [log for log in logs if log["log_level"] == "error"]
    assert log["kept_as"] == str(aside)
    assert log["fault"]
    event = make()
    box.append([event]).result(60)
    box.close()
    (gap,) = gaps(folder)
    assert (gap["cause"], gap["count"]) == ("outbox_corrupt", None)
    assert event.id in ids_of(folder)


def test_states_are_rescued_from_a_file_that_is_broken_elsewhere(folder: Path, make: Maker) -> None:
    box = open_outbox(folder)
    box.append([], {"infeed": CameraState(6, {"degraded": True})}).result(60)
    for _ in range(20):
        box.append(make.many(100)).result(60)
    box.close()
    with (folder / FILE).open("r+b") as file:
        file.seek(8192 * 100)
        file.write(b"\xff" * 8192 * 50)
    box = open_outbox(folder)
    assert box.states() == {"infeed": CameraState(6, {"degraded": True})}
    box.close()


def test_a_file_that_breaks_under_a_running_station_is_replaced(folder: Path, make: Maker) -> None:
    box = open_outbox(folder)
    box.append(make.many(50)).result(60)
    real = box._writer._store.write

    def broken_once(*args: object, **kwargs: object) -> object:
        import sqlite3

        box._writer._store.write = real  # type: ignore[method-assign]
        error = sqlite3.DatabaseError("database disk image is malformed")
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error

    box._writer._store.write = broken_once  # type: ignore[method-assign,assignment]
    event = make()
    box.append([event]).result(60)
    assert [row.id for row in box.hand_out(0, 99) if row.type != EVENTS_DROPPED] == [event.id]
    box.close()
    assert list(folder.glob("outbox.corrupt-*.db"))


def test_a_file_that_breaks_while_the_disk_is_full_is_replaced_when_there_is_room(
    small_disk: Path, make: Maker
) -> None:
    folder = small_disk / "state"
    box = open_outbox(folder)
    box.append(make.many(50), {"infeed": CameraState(6, {"degraded": True})}).result(60)
    rows = [row.seq for row in box.hand_out(0, 9, life=box.life)]
    before = box.life
    damage_ids(box)
    hog = occupy(small_disk)
    event = make()
    waiting = box.append([event])
    wait_until(lambda: "disk" in (box.stats().fault or "") and not list(folder.glob("*.corrupt-*")))
    time.sleep(0.5)
    assert not waiting.done()
    hog.unlink()
    waiting.result(60)
    assert box.life == before + 1
    assert box.hand_out(0, 9, life=before) == [], "rows of the old file are still on their way"
    box.mark_sent(rows)
    box.append([make()]).result(60)
    assert event.id in [row.id for row in box.hand_out(0, 9, life=box.life)]
    box.close()
    assert len(list(folder.glob("outbox.corrupt-*.db"))) == 1
    assert len(ids_of(folder)) == 3
    again = open_outbox(folder)
    assert again.states() == {"infeed": CameraState(6, {"degraded": True})}
    again.close()


def test_another_process_reads_while_the_station_writes(
    outbox: Outbox, folder: Path, make: Maker
) -> None:
    """The command line's reader sees whole transactions and never stops the writer."""
    code = (
        "import sys, json; from pathlib import Path\n"
        "from inspector.events.reading import Reader\n"
        "reader = Reader(Path(sys.argv[1])); counts = []\n"
        "while not counts or counts[-1] < 500:\n"
        "    counts.append(len(reader.rows('state = 0')))\n"
        "print(json.dumps(counts))\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(folder / FILE)], stdout=subprocess.PIPE, text=True
    )
    for _ in range(50):
        outbox.append(make.many(10)).result(60)
    output, _ = child.communicate(timeout=60)
    assert all(count % 10 == 0 for count in json.loads(output))


def test_the_writer_outlives_a_hook_that_raises(folder: Path, make: Maker) -> None:
    def hook(commit: object) -> None:
        raise RuntimeError(commit)

    box = open_outbox(folder, on_commit=hook)
    for _ in range(3):
        box.append([make()]).result(60)
    assert box.close()
    reader = Reader(folder / FILE)
    assert len(reader.rows("state = 0")) == 3
    reader.close()


def test_a_file_that_is_locked_for_a_while_keeps_what_was_sent(
    folder: Path, make: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody compacts it: that is no full disk, and no reason to forget anything."""
    monkeypatch.setattr("inspector.events.store.BUSY_S", 0.2)
    box = open_outbox(folder, keep_s=3600)
    box.append(make.many(20)).result(60)
    box.mark_sent([row.seq for row in box.hand_out(0, 20)])
    wait_until(lambda: box.stats().waiting == 0)
    with contextlib.closing(sqlite3.connect(folder / FILE, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        last = box.append([make("frame_rejected")])
        wait_until(lambda: "locked" in (box.stats().fault or ""))
        other.execute("COMMIT")
        last.result(60)
        (count,) = other.execute("SELECT count(*) FROM events WHERE state = 1").fetchone()
    assert count == 20
    assert box.close()


def test_of_files_that_broke_the_newest_two_are_kept(folder: Path, make: Maker) -> None:
    for _ in range(4):
        box = open_outbox(folder)
        box.append(make.many(3)).result(60)
        assert box.close()
        (folder / FILE).write_bytes(b"no database" * 1000)
    assert open_outbox(folder).close()
    assert len(list(folder.glob("outbox.corrupt-*"))) == 2


def _remount(disk: Path, option: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{option}", disk], check=True, capture_output=True)
