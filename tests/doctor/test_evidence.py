"""The evidence folder as the doctor sees it: place, disk, room, time of a picture."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from inspector.config.evidence import Evidence as Settings
from inspector.doctor.disk import disk_in, disk_of, unmounted
from inspector.doctor.evidence import check_evidence, keep_finding, room_finding
from inspector.doctor.finding import Grade
from inspector.doctor.state import RunningStation
from tests.evidence.making import Room
from tests.rights import only_as_the_mode_says
from tests.servers.disk import occupy

MB = 1_000_000


def test_a_station_that_keeps_none(station):
    (found,) = check_evidence(station(), None)
    assert (found.grade, found.found) == (Grade.GOOD, "none: no pictures are kept")


def test_a_folder_that_will_be_made_is_measured_and_not_made(station, tmp_path):
    config = station(evidence={"min_free_mb": 0, "max_mb": 1, "within_ms": 60_000})
    before = sorted(tmp_path.rglob("*"))
    folder, space, write = check_evidence(config, None)
    assert sorted(tmp_path.rglob("*")) == before, "what was written is gone"
    assert [f.grade for f in (folder, space, write)] == [Grade.GOOD] * 3
    disk = disk_of(tmp_path)
    assert folder.found == (f"{tmp_path}/state/evidence, to be made in {tmp_path}, on {disk}")
    assert os.path.ismount(disk.at)
    assert space.facts["room_bytes"] == MB
    assert write.facts["write_ms_max"] > 0


def test_what_the_folder_holds_counts_and_another_stations_folder_is_named(station, tmp_path):
    room = Room(tmp_path / "shared").open()
    room.kept()
    config = station(evidence={"folder": str(tmp_path / "shared")})
    mistake, space, _ = check_evidence(config, None)
    assert mistake.grade is Grade.MISTAKE
    assert f"process {os.getpid()}, another station, keeps its evidence there" in mistake.found
    assert space.facts["held_bytes"] > 4096
    own, *_ = check_evidence(config, RunningStation(os.getpid()))
    assert own.grade is Grade.GOOD
    room.evidence.close(5)
    free, *_ = check_evidence(config, None)
    assert free.grade is Grade.GOOD


def test_a_folder_that_may_not_be_written_and_a_file_in_its_place(station, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    (tmp_path / "file").touch()
    with only_as_the_mode_says():
        (locked,) = check_evidence(station(evidence={"folder": str(tmp_path / "locked")}), None)
    (file,) = check_evidence(station(evidence={"folder": str(tmp_path / "file")}), None)
    for found, why in ((locked, "Permission denied"), (file, "is not a folder")):
        assert (found.name, found.grade) == ("folder", Grade.MEND)
        assert why in found.found
        assert "ReadWritePaths=" in found.remedy


def test_a_full_disk(station, small_disk):
    config = station(evidence={"folder": str(small_disk / "evidence"), "min_free_mb": 1})
    _, space, _ = check_evidence(config, None)
    assert (space.grade, space.facts["room_bytes"] < 3 * MB) == (Grade.MEND, True)
    occupy(small_disk)
    (full,) = check_evidence(config, None)
    assert full.grade is Grade.MEND
    assert "No space left on device" in full.found
    assert "make room" in full.remedy


@pytest.mark.parametrize(
    ("held", "free", "room", "grade"),
    [
        (0, 5000, 1000, Grade.GOOD),
        (900, 2100, 1000, Grade.GOOD),
        (0, 2500, 500, Grade.NOTE),
        (300, 1900, 200, Grade.NOTE),
        (0, 2050, 50, Grade.MEND),
        (10, 1500, 0, Grade.MEND),
    ],
)
def test_the_room_that_min_free_mb_leaves(held, free, room, grade):
    asked = Settings(max_mb=1000, min_free_mb=2000)
    found = room_finding(asked, held_bytes=held * MB, free_bytes=free * MB)
    assert (found.facts["room_bytes"], found.grade) == (room * MB, grade)
    assert bool(found.remedy) == (grade is Grade.MEND)


def test_a_disk_too_slow_for_the_events_that_wait():
    slow = keep_finding([0.1, 2.5, 0.2], within_ms=2000)
    assert (slow.grade, slow.facts) == (Grade.MEND, {"write_ms_max": 2500.0})
    assert "within_ms" in slow.expected
    assert keep_finding([0.1, 1.5], within_ms=2000).grade is Grade.GOOD


def test_the_disk_that_a_folder_lies_on():
    mounts = (
        "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
        "36 22 8:2 / /srv rw - ext4 /dev/sda2 rw\n"
        "37 36 0:44 / /srv/evi\\040dence rw - tmpfs tmpfs rw\n"
        "38 36 0:45 / /srv/evi\\040dence rw - xfs /dev/sdb1 rw\n"
    )
    for folder, kind in (("/srv/evi dence/a", "xfs"), ("/srv/e", "ext4"), ("/var", "ext4")):
        assert disk_in(mounts, Path(folder)).kind == kind
    assert disk_in(mounts, Path("/srv/x")).source == "/dev/sda2"


def test_a_disk_that_should_be_mounted_and_is_not(station, tmp_path, monkeypatch):
    away = tmp_path / "away"
    away.mkdir()
    fstab = tmp_path / "fstab"
    fstab.write_text(f"/dev/sdb1 {away} ext4 nofail 0 2\n/dev/sda1 / ext4 defaults 0 1\n")
    assert unmounted(away / "evidence", fstab) == away
    assert unmounted(tmp_path / "elsewhere", fstab) is None
    fstab.write_text(f"/dev/sdb1 {away} ext4 noauto 0 2\n")
    assert unmounted(away / "evidence", fstab) is None
    assert unmounted(away, tmp_path / "none") is None
    monkeypatch.setattr("inspector.doctor.evidence.unmounted", lambda _: away)
    found, *_ = check_evidence(station(evidence={"folder": str(away / "evidence")}), None)
    assert found.grade is Grade.MEND
    assert f"the disk of {away} is not mounted" in found.found
