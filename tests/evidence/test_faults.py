"""Disks and folders that do not do what they should."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from tests.evidence.making import Room, wait_until
from tests.servers.disk import occupy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def turn(room: Room) -> None:
    """Have the keeper look at once."""
    room.evidence._keeper._wake.set()


def fault(room: Room) -> str:
    return room.evidence.stats().fault or ""


def test_a_full_disk_is_told_and_got_over(room_of: Callable[..., Room], small_disk: Path) -> None:
    # min_free_mb 0: nothing keeps the disk from being filled to the brim.
    room = room_of(small_disk / "evidence", per_minute=6000)
    hog = occupy(small_disk)
    assert room.cause() == "space"
    wait_until(lambda: "no room for evidence: the disk has 0.0 MB left" in fault(room))
    assert room.files() == [], "no half a picture is left"
    hog.unlink()
    room.kept()
    wait_until(lambda: fault(room) == "")


def test_evidence_makes_room_for_what_fills_the_disk(
    room_of: Callable[..., Room], small_disk: Path
) -> None:
    room = room_of(small_disk / "evidence", min_free_mb=1, per_minute=6000)
    for _ in range(20):
        room.kept()
    before = room.evidence.stats()
    assert before.files == 20
    hog = small_disk / "somebody-elses"

    def free() -> int:
        return shutil.disk_usage(small_disk).free

    def crowd() -> None:
        with hog.open("ab", buffering=0) as file:
            while free() > 900_000:
                file.write(bytes(4096))

    crowd()
    wait_until(lambda: free() >= 1_000_000)

    def as_counted() -> bool:
        left = room.evidence.stats()
        removed = left.cameras["infeed"]["removed"]
        return 0 < left.files < 20 and removed == {"free": 20 - left.files}

    wait_until(as_counted)
    while room.evidence.stats().files:
        crowd()
        wait_until(lambda: free() >= 1_000_000 or not room.evidence.stats().files)
    crowd()
    assert room.cause() == "space"
    wait_until(lambda: "no room for evidence: the disk has 0." in fault(room))
    hog.unlink()
    wait_until(lambda: not fault(room))
    room.kept()


def test_a_read_only_disk_is_told_and_got_over(
    room_of: Callable[..., Room], small_disk: Path
) -> None:
    room = room_of(small_disk / "evidence")
    kept = room.kept()
    _mount("remount,ro", small_disk)
    with capture_logs() as logs:
        assert room.cause() == "unwritable"
        assert room.cause() == "unwritable"
    assert "cannot be used: Read-only file system" in fault(room)
    assert [log["event"] for log in logs if log["log_level"] == "error"] == [
        "no evidence can be kept"
    ]
    assert room.evidence.picture(kept.name.uri) is not None, "it can still be read"
    _mount("remount,rw", small_disk)
    turn(room)
    wait_until(lambda: not fault(room))
    room.kept()


def test_a_folder_that_starts_read_only_is_taken_when_it_can_be(small_disk: Path) -> None:
    _mount("remount,ro", small_disk)
    room = Room(small_disk / "evidence")
    room.evidence.start()
    wait_until(lambda: "Read-only file system" in fault(room))
    assert room.cause() == "unwritable"
    _mount("remount,rw", small_disk)
    turn(room)
    wait_until(lambda: not fault(room))
    room.kept()
    room.evidence.close(5)


def test_a_disk_that_vanishes_is_not_replaced_by_its_mount_point(
    room_of: Callable[..., Room], small_disk: Path
) -> None:
    room = room_of(small_disk)
    kept = room.kept()
    elsewhere = small_disk.with_name("elsewhere")
    elsewhere.mkdir()
    subprocess.run(["mount", "--bind", small_disk, elsewhere], check=True)
    subprocess.run(["umount", "-l", small_disk], check=True)
    turn(room)
    wait_until(lambda: "No such file or directory" in fault(room))
    assert room.cause() == "unwritable"
    assert list(small_disk.iterdir()) == [], "nothing is written to the bare mount point"
    subprocess.run(["mount", "--bind", elsewhere, small_disk], check=True)
    subprocess.run(["umount", "-l", elsewhere], check=True)
    turn(room)
    wait_until(lambda: not fault(room))
    assert room.evidence.stats().files == 1
    assert room.evidence.picture(kept.name.uri) is not None
    room.kept()


def test_a_folder_that_is_taken_away_is_told(room: Room) -> None:
    shutil.rmtree(room.folder)
    turn(room)
    wait_until(lambda: fault(room))
    assert room.cause() == "unwritable"
    assert not room.folder.exists()


def test_two_stations_do_not_share_a_folder(room: Room) -> None:
    other = Room(room.folder)
    other.evidence.start()
    wait_until(lambda: "another station keeps its evidence in" in fault(other))
    assert other.cause() == "unwritable"
    room.evidence.close(5)
    turn(other)
    wait_until(lambda: not fault(other))
    other.kept()
    other.evidence.close(5)


def test_a_file_in_the_way_is_told(tmp_path: Path) -> None:
    (tmp_path / "evidence").touch()
    room = Room(tmp_path / "evidence")
    room.evidence.start()
    wait_until(lambda: "cannot be used: File exists" in fault(room))
    room.evidence.close(5)


@pytest.mark.skipif(os.geteuid() != 0, reason="to become somebody else takes root")
def test_a_folder_without_the_right_to_write_is_told(tmp_path: Path) -> None:
    """In a child that is nobody, since root may write everywhere."""
    import sys

    folder = tmp_path / "evidence"
    folder.mkdir(mode=0o555)
    for parent in (tmp_path, *tmp_path.parents[:2]):
        parent.chmod(0o755)
    code = (
        "import sys; from pathlib import Path\n"
        "from tests.evidence.making import Room, wait_until\n"
        "import os; os.setgid(65534); os.setuid(65534)\n"
        "room = Room(Path(sys.argv[1])); room.evidence.start()\n"
        "print(wait_until(lambda: room.evidence.stats().fault), flush=True); os._exit(0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True
    )
    assert "cannot be used: Permission denied; look at the disk" in done.stdout


def _mount(options: str, at: Path) -> None:
    subprocess.run(["mount", "-o", options, str(at)], check=True, capture_output=True)
