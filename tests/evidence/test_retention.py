"""What is removed, and whose: by age, by size, for free space."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from inspector.evidence.folder import Folder
from inspector.evidence.holdings import Holdings, Limits
from inspector.evidence.keeper import Keeper
from tests.evidence.making import DAY_MS, NOW_MS, name_at

if TYPE_CHECKING:
    from pathlib import Path

    from inspector.evidence.naming import Name

KB40 = 40_000
TAKEN = 40_960


class Shelf:
    """A keeper on a real folder, with clocks and a disk of the test's own."""

    def __init__(self, path: Path, **limits: float) -> None:
        self.folder = Folder(path)
        self.now_s, self.now_ms, self.disk_bytes = 0.0, NOW_MS, 10**9
        given = {"keep_days": 30.0, "max_mb": 1, "min_free_mb": 0} | limits
        self.keeper = Keeper(
            self.folder,
            Limits.of(**given),  # type: ignore[arg-type]
            stored=lambda _: {},
            clock=lambda: self.now_s,
            utc_ms=lambda: self.now_ms,
        )
        self.folder.free_bytes = self._free  # type: ignore[method-assign]
        self.keeper.turn()

    def _free(self) -> int:
        return self.disk_bytes - sum(p.stat().st_size for p in self.folder.path.rglob("*.jpg"))

    def add(self, name: Name, size: int = KB40) -> bool:
        """Write a picture as the pool does; False where there was no room."""
        if not self.keeper.fits(size):
            return False
        self.keeper.wrote(name, self.folder.write(name, b"x" * size))
        return True

    def left(self) -> dict[str, int]:
        return {name: held.files for name, held in self.keeper.held([]).items()}

    def on_disk(self) -> list[str]:
        return sorted(str(p.relative_to(self.folder.path)) for p in self.folder.path.rglob("*.jpg"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "evidence"


def test_what_is_too_old_is_removed_to_the_millisecond(path: Path) -> None:
    shelf = Shelf(path, keep_days=2)
    names = [name_at(NOW_MS + hours * 3_600_000) for hours in range(0, 60, 6)]
    for name in names:
        assert shelf.add(name)
    shelf.now_ms = NOW_MS + 2 * DAY_MS + 6 * 3_600_000
    shelf.now_s += 60
    shelf.keeper.turn()
    assert shelf.on_disk() == sorted(name.uri for name in names[1:])
    assert shelf.keeper.removed() == {("infeed", "age"): 1}
    shelf.now_ms += 30 * DAY_MS
    shelf.now_s += 60
    shelf.keeper.turn()
    assert shelf.on_disk() == []
    assert [p.name for p in path.iterdir()] == ["evidence.lock"], "empty folders are removed too"


def test_a_clock_that_went_back_removes_nothing(path: Path) -> None:
    shelf = Shelf(path)
    shelf.add(name_at(NOW_MS))
    shelf.now_ms = 0
    shelf.now_s += 60
    shelf.keeper.turn()
    assert len(shelf.on_disk()) == 1


def test_the_oldest_go_when_the_space_is_used_up(path: Path) -> None:
    shelf = Shelf(path, max_mb=1)
    names = [name_at(NOW_MS + i * 7_200_000, i) for i in range(60)]
    for i, name in enumerate(names):
        shelf.now_ms = NOW_MS + i * 7_200_000
        assert shelf.add(name)
        shelf.keeper.turn()
        assert shelf.keeper.held([])["infeed"].bytes <= 1_000_000
    assert shelf.on_disk() == sorted(name.uri for name in names[-len(shelf.on_disk()) :])
    assert len(shelf.on_disk()) >= 1_000_000 // TAKEN - 5


def test_pictures_of_a_clock_that_was_ahead_go_before_those_of_now(path: Path) -> None:
    shelf = Shelf(path, max_mb=1)
    for i in range(20):
        assert shelf.add(name_at(NOW_MS + 365 * DAY_MS, i))
    names = [name_at(NOW_MS + i * 1000, i) for i in range(12)]
    for name in names:
        assert shelf.add(name)
        shelf.keeper.turn()
    assert {name.uri for name in names} <= set(shelf.on_disk())


def test_without_a_turn_the_bound_holds_too(path: Path) -> None:
    shelf = Shelf(path, max_mb=1)
    written = [shelf.add(name_at(NOW_MS, i)) for i in range(40)]
    assert written.count(True) == 1_000_000 // TAKEN
    shelf.keeper.turn()
    assert shelf.add(name_at(NOW_MS, 99))


def test_one_fouled_lens_does_not_erase_the_others_evidence(path: Path) -> None:
    shelf = Shelf(path, max_mb=1)
    quiet = [name_at(NOW_MS, i, "quiet") for i in range(6)]
    shy = [name_at(NOW_MS, i, "shy") for i in range(2)]
    for name in (*quiet, *shy):
        assert shelf.add(name)
    for i in range(500):  # newer than all of theirs, and many
        shelf.add(name_at(NOW_MS + 1000 + i, i, "fouled"))
        shelf.keeper.turn()
    left = shelf.left()
    assert (left["quiet"], left["shy"]) == (6, 2)
    assert left["fouled"] > 10
    for i in range(500):  # the quiet one becomes as loud: both get the same
        shelf.add(name_at(NOW_MS + 2000 + i, i, "quiet"))
        shelf.keeper.turn()
    left = shelf.left()
    assert left["shy"] == 2
    assert abs(left["quiet"] - left["fouled"]) <= 1


def test_pictures_make_room_for_others_on_the_disk(path: Path) -> None:
    shelf = Shelf(path, max_mb=100, min_free_mb=5)
    shelf.disk_bytes = 8_000_000
    for i in range(20):
        assert shelf.add(name_at(NOW_MS + i, i))
    shelf.keeper.turn()
    assert len(shelf.on_disk()) == 20
    shelf.disk_bytes = 5_500_000  # somebody else writes
    shelf.keeper.turn()
    left = shelf.on_disk()
    assert 0 < len(left) < 20
    assert shelf._free() >= 5_000_000
    assert left == sorted(name_at(NOW_MS + i, i).uri for i in range(20))[-len(left) :]
    assert shelf.add(name_at(NOW_MS + 99, 99)), "there is room for the next"
    shelf.disk_bytes = 4_000_000
    shelf.keeper.turn()
    assert shelf.on_disk() == [], "the last picture goes before the outbox is in want"
    assert not shelf.add(name_at(NOW_MS + 100, 100))


def test_pictures_of_a_camera_that_is_no_more_count_and_go(path: Path) -> None:
    shelf = Shelf(path, max_mb=1)
    for i in range(20):
        shelf.add(name_at(NOW_MS, i, "gone"))
        shelf.folder.add_note(name_at(NOW_MS, i, "gone"), {})
    shelf.folder.close()
    shelf = Shelf(path, max_mb=1)
    assert shelf.left() == {"gone": 20}
    for i in range(40):
        shelf.add(name_at(NOW_MS + 1, i, "new"))
        shelf.keeper.turn()
    assert shelf.left()["new"] > 8


def test_what_somebody_else_removes_is_missed_once_and_forgotten(path: Path) -> None:
    shelf = Shelf(path, max_mb=1)
    for i in range(20):
        shelf.add(name_at(NOW_MS - DAY_MS, i))
    for file in path.rglob("*.jpg"):
        file.unlink()
    for i in range(40):
        shelf.add(name_at(NOW_MS, i))
        shelf.keeper.turn()
    assert len(shelf.on_disk()) >= 1_000_000 // TAKEN - 5


@pytest.mark.parametrize("left", [0, 2])
def test_what_somebody_else_removes_of_an_old_day_is_not_counted_any_more(
    path: Path, left: int
) -> None:
    shelf = Shelf(path, keep_days=2)
    names = [name_at(NOW_MS, i) for i in range(5)]
    today = name_at(NOW_MS + 4 * DAY_MS)
    for name in (*names, today):
        assert shelf.add(name)
    for name in names[left:]:
        shelf.folder.place(name).unlink()
    if not left:
        shelf.folder.place(names[0]).parent.rmdir()
        shelf.folder.place(names[0]).parent.parent.rmdir()
    shelf.now_ms += 4 * DAY_MS
    shelf.now_s += 60
    shelf.keeper.turn()
    held = shelf.keeper.held([])["infeed"]
    assert (held.files, held.bytes) == (1, TAKEN)
    assert shelf.on_disk() == [today.uri]
    assert shelf.keeper.removed()["infeed", "age"] == left, "what we removed ourselves"


def test_the_tally_never_goes_below_nothing() -> None:
    holdings = Holdings()
    name = name_at(NOW_MS)
    holdings.add(name, 10)
    holdings.remove(name, 99)
    holdings.remove(name, 99)
    assert holdings.cameras() == []
    assert (holdings.total.files, holdings.total.bytes) == (0, 0)


def test_one_file_that_cannot_be_removed_leaves_the_others_their_limits(
    path: Path,
) -> None:
    shelf = Shelf(path, keep_days=2)
    odd = shelf.folder.place(name_at(NOW_MS, 0))
    odd.mkdir(parents=True)
    assert shelf.add(name_at(NOW_MS, 1))
    assert shelf.add(name_at(NOW_MS, 1, camera="outfeed"))
    shelf.now_ms += 3 * DAY_MS
    shelf.now_s += 60
    with capture_logs() as logs:
        shelf.keeper.turn()
    assert shelf.on_disk() == [str(odd.relative_to(path))]
    assert shelf.keeper.fault is None
    assert [log["path"] for log in logs if "path" in log] == [str(odd)], "which one it is, is told"


def test_room_is_made_around_what_cannot_be_removed(path: Path) -> None:
    shelf = Shelf(path)
    odd = shelf.folder.place(name_at(NOW_MS, 0))
    odd.mkdir(parents=True)
    for i in range(1, 60):
        assert shelf.add(name_at(NOW_MS, i))
        shelf.keeper.turn()
    assert shelf.keeper.fault is None
    assert odd.is_dir()


def test_before_a_start_on_a_full_disk_room_is_made_and_nothing_else(path: Path) -> None:
    shelf = Shelf(path, keep_days=2, min_free_mb=0)
    old = [name_at(NOW_MS, i) for i in range(5)]
    new = [name_at(NOW_MS + 2 * DAY_MS, i) for i in range(5)]
    for name in old + new:
        assert shelf.add(name)
    shelf.keeper.close(1)
    keeper = Keeper(
        Folder(path),
        shelf.keeper.limits,
        stored=lambda _: {},
        utc_ms=lambda: NOW_MS + 3 * DAY_MS,
    )
    assert keeper.make_room() == len(old) * TAKEN
    keeper.close(1)
    assert shelf.on_disk() == sorted(name.uri for name in new), "though no event lies beside them"
