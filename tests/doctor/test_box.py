"""State folder, clock, memory, processor, page."""

from __future__ import annotations

import os
import socket

import pytest

from inspector.config.events import Topics
from inspector.doctor import box
from inspector.doctor.capacity import capacity
from inspector.doctor.finding import Finding, Grade
from inspector.doctor.state import RunningStation, check_state, fsync_finding, holders
from inspector.events.outbox import Outbox

GB = 10**9


def open_outbox(folder):
    return Outbox(
        folder, max_bytes=64_000_000, keep_s=60, topics=Topics(), source="/stations/line-1"
    )


def test_a_folder_that_will_be_made_is_not_made(station, tmp_path):
    config = station()
    folder, room, fsync = check_state(config, None)
    assert (folder.grade, room.grade) == (Grade.GOOD, Grade.GOOD)
    assert f"to be made in {tmp_path}" in folder.found
    assert fsync.facts["fsync_ms_max"] >= fsync.facts["fsync_ms_p50"] > 0
    assert not (tmp_path / "state").exists()


def test_a_running_station_does_not_notice(station, tmp_path):
    config = station()
    box = open_outbox(tmp_path / "state")
    try:
        running = RunningStation.of(config)
        assert running == RunningStation(os.getpid())
        before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "state").iterdir()}
        folder, *_ = check_state(config, running)
        after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "state").iterdir()}
        assert before == after
        assert f"in use by the running station (process {os.getpid()})" in folder.found
    finally:
        box.close()
    assert RunningStation.of(config) is None, "the lock's file stays, and nobody holds it"


def test_a_lock_file_of_a_dead_station_holds_nothing(station, tmp_path):
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "outbox.lock").write_text("1\n")
    assert RunningStation.of(station()) is None


def test_who_waits_for_a_lock_does_not_hold_it():
    locks = (
        "1: POSIX  ADVISORY  READ 5 fd:00:7 0 EOF\n"
        "2: FLOCK  ADVISORY  WRITE 81 fd:00:7 0 EOF\n"
        "2: -> FLOCK  ADVISORY  WRITE 9 fd:00:7 0 EOF\n"
        "3: FLOCK  ADVISORY  WRITE 82 fd:00:70 0 EOF\n"
    )
    assert holders(locks, 7) == {81}


@pytest.mark.parametrize("place", ["/sys/kernel", "/proc/self"])
def test_a_folder_that_cannot_be_written(station, place):
    (found,) = check_state(station(state=f"{place}/inspector"), None)
    assert (found.subject, found.name, found.grade) == ("state", "folder", Grade.MEND)
    assert f"{place}/inspector" in found.found
    assert "right to write there" in found.remedy


def test_a_file_where_the_folder_should_be(station, tmp_path):
    (tmp_path / "state").write_text("")
    (found,) = check_state(station(), None)
    assert found.grade is Grade.MEND
    assert "is not a folder" in found.found


def test_a_disk_without_room_for_the_outbox(station):
    _, room, _ = check_state(station(events={"outbox": {"max_mb": 1_000_000}}), None)
    assert room.facts["needed_bytes"] > 10**12
    grade = Grade.MEND if room.facts["free_bytes"] < 10**12 else Grade.GOOD
    assert room.grade is grade


def test_slow_durable_writes_are_told():
    slow = fsync_finding([0.030, 0.020, 0.5])
    assert (slow.grade, slow.found) == (Grade.MEND, "30.0 ms as a rule, 500.0 ms at most of 3")
    assert fsync_finding([0.002, 0.001, 0.5]).grade is Grade.GOOD


def test_the_clock_is_asked_and_judged():
    (found,) = box.check_clock()
    assert found.subject == "clock"
    assert box.clock_finding(0.012, synchronised=True).grade is Grade.GOOD
    assert box.clock_finding(7.0, synchronised=True).grade is Grade.MEND
    assert box.clock_finding(0.012, synchronised=False).grade is Grade.MEND


def test_memory_for_all_slots(station):
    source = {"kind": "pattern", "width": 1920, "height": 1080}
    config = station(cameras={"a": {"source": source, "slots": 4}})
    assert box.needed_bytes(config) == 400_000_000 + 130_000_000 + 4 * 1920 * 1080 * 3
    unknown = station(cameras={"a": {"source": {"kind": "rtsp", "url": "rtsp://h/1"}, "slots": 2}})
    assert box.needed_bytes(unknown) == 400_000_000 + 130_000_000 + 2 * 16_000_000 * 3
    (found,) = box.check_memory(config)
    assert found.facts["available_bytes"] > 0
    assert box.memory_finding(2 * GB, 8 * GB, 3 * GB).grade is Grade.MEND
    assert box.memory_finding(3 * GB, 8 * GB, 2 * GB).grade is Grade.GOOD


@pytest.mark.parametrize(
    ("words", "told", "grade"),
    [
        ("model name : A\nflags : fpu avx512_vnni amx_bf16\n", "for int8 and bf16", Grade.GOOD),
        ("model name : A\nflags : fpu avx_vnni\n", "for int8", Grade.GOOD),
        ("model name : A\nflags : fpu avx2\n", "for neither int8 nor bf16", Grade.NOTE),
        ("Features : fp asimd i8mm bf16\n", "for int8 and bf16", Grade.GOOD),
    ],
)
def test_processors(words, told, grade):
    found = box.cpu_finding(words, 2)
    assert found.found.endswith(told)
    assert found.grade is grade
    (own,) = box.check_cpu()
    assert own.facts["processors"] == len(os.sched_getaffinity(0))


def test_the_page_address_taken_by_another_and_by_the_station_itself(station):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config = station(web={"listen": f"127.0.0.1:{taken.getsockname()[1]}"})
        (found,) = box.check_page(config, None)
        assert (found.grade, "already in use" in found.found) == (Grade.MEND, True)
        (found,) = box.check_page(config, RunningStation(1))
        assert found.grade is Grade.GOOD
    (found,) = box.check_page(config, None)
    assert found.grade is Grade.GOOD
    (found,) = box.check_page(station(web={"listen": "203.0.113.9:80", "token": "T"}), None)
    assert found.grade is Grade.MEND


def test_an_engine_that_does_not_keep_up(station):
    source = {"kind": "rtsp", "url": "rtsp://h/1"}
    cameras = {
        "a": {"source": source, "inspect": {"every_s": 0.2}},
        "b": {"source": source},
        "asked": {"source": source, "inspect": {"on_trigger": True}},
        "parts": {
            "source": source,
            "inspect": {"on_motion": {"x": 9, "y": 9, "width": 9, "height": 99}},
        },
    }
    config = station(cameras=cameras)
    seen = [
        Finding("camera", name, Grade.GOOD, "", facts={"fps": 25.0, "live": True})
        for name in cameras
    ]

    def screen(frames_per_s):
        return Finding(
            "engine", "", Grade.GOOD, "", facts={"stage": "screen", "frames_per_s": frames_per_s}
        )

    (enough,) = capacity(config, [*seen, screen(40.0)])
    assert enough.grade is Grade.GOOD
    assert enough.facts == {"wanted_per_s": 30.0, "able_per_s": 40.0}
    (less,) = capacity(config, [*seen, screen(32.0)])
    assert less.grade is Grade.MEND
    assert "every_s" in less.remedy
    assert list(capacity(config, seen)) == []
    assert list(capacity(config, [screen(32.0)])) == []
