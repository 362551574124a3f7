"""A station file that is written or replaced while it is read: at the start and at a reload."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from inspector.config import settled
from inspector.config.faults import StationFileError
from inspector.config.load import read_station
from inspector.config.secrets import Secrets
from inspector.config.settled import read_settled
from tests.rights import only_as_the_mode_says

if TYPE_CHECKING:
    from pathlib import Path

PATTERN = "{source: {kind: pattern}}"


def text(*cameras: str) -> str:
    lines = [f"  {name}: {PATTERN}" for name in cameras]
    return "\n".join(["version: 1", "station: line-1", "cameras:", *lines, ""])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "station.yaml"


def write(file: Path, content: str, *, settled: bool = True) -> None:
    file.write_text(content)
    if settled:
        long_ago = time.time() - 60
        os.utime(file, (long_ago, long_ago))


def never(seconds: float) -> None:
    pytest.fail(f"waited for {seconds} s")


def test_a_file_that_stands_still_is_read_at_once(file: Path) -> None:
    write(file, text("a"))
    assert list(read_settled(file, Secrets({}), sleep=never).station.cameras) == ["a"]


def test_half_of_a_file_is_not_taken_for_the_whole(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first half is a station file too, with one camera less."""
    monkeypatch.setattr(settled, "SETTLED_S", 30.0)  # it is looked at within that
    whole = text("a", "b")
    half = whole[: whole.index("  b:")]
    write(file, half, settled=False)
    slept: list[float] = []

    def go_on(seconds: float) -> None:
        slept.append(seconds)
        write(file, whole)

    assert list(read_settled(file, Secrets({}), sleep=go_on).station.cameras) == ["a", "b"]
    assert len(slept) == 1
    assert 0 < slept[0] <= settled.SETTLED_S


def test_what_took_its_place_meanwhile_is_what_counts(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(file, text("old"))

    def replaced(path: Path, secrets: Secrets) -> Any:
        found = read_station(path, secrets)
        if "old" in found.station.cameras:
            new = path.with_suffix(".new")
            write(new, text("new"))
            new.replace(path)
        return found

    monkeypatch.setattr(settled, "read_station", replaced)
    assert list(read_settled(file, Secrets({})).station.cameras) == ["new"]


def test_a_file_that_is_replaced_all_the_time_is_read_whole_or_refused(file: Path) -> None:
    write(file, text("a"))
    over = threading.Event()

    def replace() -> None:
        turn = 0
        while not over.is_set():
            turn += 1
            new = file.with_suffix(".new")
            new.write_text(text(*(f"c{n}" for n in range(1 + turn % 40))))
            new.replace(file)

    writer = threading.Thread(target=replace)
    writer.start()
    try:
        for _ in range(20):
            try:
                read_settled(file, Secrets({}), sleep=lambda _: None)
            except StationFileError as error:
                assert "changes while it is read" in str(error)  # noqa: PT017 - one of two answers
    finally:
        over.set()
        writer.join()


def test_a_file_that_changes_at_each_reading_is_refused(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readings = 0

    def read(path: Path, secrets: Secrets) -> Any:
        nonlocal readings
        readings += 1
        write(file, text("a", f"b{'x' * readings}"))
        return read_station(path, secrets)

    write(file, text("a"))
    monkeypatch.setattr(settled, "read_station", read)
    with pytest.raises(StationFileError, match="changes while it is read; write elsewhere"):
        read_settled(file, Secrets({}))
    assert readings == settled.TRIES


def test_a_clock_that_was_set_back_makes_nobody_wait(file: Path) -> None:
    write(file, text("a"))
    tomorrow = time.time() + 86_400
    os.utime(file, (tomorrow, tomorrow))
    read_settled(file, Secrets({}), sleep=never)


def test_a_file_that_may_not_be_read_is_one_fault(file: Path) -> None:
    write(file, text("a"))
    file.chmod(0)
    with only_as_the_mode_says(), pytest.raises(StationFileError, match="Permission denied"):
        read_settled(file, Secrets({}))
