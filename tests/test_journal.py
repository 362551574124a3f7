"""The journal: appended, bounded, and readable after a power cut."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from inspector import journal
from inspector.journal import FILE, OLDER, Journal

if TYPE_CHECKING:
    from pathlib import Path


def test_the_newest_entries_come_first_also_after_a_restart(tmp_path: Path) -> None:
    for n in range(4):
        Journal(tmp_path).write({"n": n, "text": "é\n"})
    assert [entry["n"] for entry in Journal(tmp_path).newest(3)] == [3, 2, 1]
    assert Journal(tmp_path).newest(1)[0]["text"] == "é\n"
    assert len((tmp_path / FILE).read_bytes().splitlines()) == 4


def test_there_is_none_before_the_first_change(tmp_path: Path) -> None:
    assert Journal(tmp_path / "not there").newest(5) == []


def test_it_is_bounded_and_loses_the_oldest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "MOST_BYTES", 1000)
    book = Journal(tmp_path)
    for n in range(200):
        book.write({"n": n, "text": "x" * 50})
    kept = [entry["n"] for entry in book.newest(1000)]
    assert kept == list(range(199, 199 - len(kept), -1))
    assert len(kept) >= 14
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([FILE, OLDER])
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 2200


def test_a_torn_line_costs_itself_alone(tmp_path: Path) -> None:
    book = Journal(tmp_path)
    book.write({"n": 1})
    with (tmp_path / FILE).open("ab") as file:
        file.write(b'{"n": 2, "te')
    book.write({"n": 3})
    assert [entry["n"] for entry in book.newest(5)] == [3, 1]


def test_a_folder_that_takes_nothing_is_told(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        Journal(tmp_path / "not there").write({"n": 1})
