"""What operators say of events: durable, changeable, bounded."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from inspector.errors import MarkError
from inspector.marks import FILE, Marks

if TYPE_CHECKING:
    from pathlib import Path


def event(number: int, label: str = "gblur", **data: Any) -> dict[str, Any]:
    given = {"station": "packing-07", "camera": "infeed", "stream_epoch": 1, "sequence": number}
    return {"id": f"e{number}", "data": {**given, "label": label, "evidence": None, **data}}


def test_a_mark_can_be_changed_and_taken_back(tmp_path: Path) -> None:
    marks = Marks(tmp_path)
    assert marks.all() == []
    assert not (tmp_path / FILE).exists(), "nothing is made before there is something to keep"
    marks.put(event(1), "right", None)
    marks.put(event(2), "wrong", None)
    marks.put(event(1), "wrong", "wn")
    found = marks.of(["e1", "e2", "e3"])
    assert {key: (mark.word, mark.label) for key, mark in found.items()} == {
        "e1": ("wrong", "wn"),
        "e2": ("wrong", None),
    }
    assert marks.take_back("e1")
    assert not marks.take_back("e1")
    assert marks.find("e1") is None
    (left,) = Marks(tmp_path).all()
    assert (left.event, left.label) == (event(2), None)


def test_what_a_picture_is_in_truth(tmp_path: Path) -> None:
    marks = Marks(tmp_path)
    marks.put(event(1, "gblur"), "right", None)
    marks.put(event(2, "gblur"), "wrong", "refimgs")
    marks.put(event(3, "gblur"), "wrong", None)
    assert [each.label for each in marks.all()] == ["gblur", "refimgs", None]


def test_beyond_the_bound_the_oldest_marks_go(tmp_path: Path) -> None:
    now = iter(range(100))
    marks = Marks(tmp_path, most=3, utc_ms=lambda: next(now))
    for number in range(5):
        marks.put(event(number), "right", None)
    assert [each.event["id"] for each in marks.all()] == ["e2", "e3", "e4"]


_MARKS_FOR_EVER = """
import sys
from pathlib import Path
from inspector.marks import Marks
from tests.test_marks import event
marks, number = Marks(Path(sys.argv[1])), 0
while True:
    marks.put(event(number), "right", None)
    print(number, flush=True)
    number += 1
"""


def test_kill_at_any_instant_loses_no_mark_that_was_answered(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _MARKS_FOR_EVER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) == 20:
                break
        os.kill(process.pid, signal.SIGKILL)
        answered = 20 + len(process.stdout.readlines())
    kept = [each.event["id"] for each in Marks(tmp_path).all()]
    assert set(kept) >= {f"e{number}" for number in range(answered)}
    assert Marks(tmp_path).put(event(9999), "wrong", None).word == "wrong"


def test_a_broken_file_is_put_aside_and_marks_begin_anew(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"no database at all, but long enough to be looked at" * 100)
    marks = Marks(tmp_path)
    marks.put(event(1), "right", None)
    assert [each.event["id"] for each in marks.all()] == ["e1"]
    (aside,) = tmp_path.glob("marks.corrupt-*.db")
    assert aside.read_bytes().startswith(b"no database")


def test_the_file_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    marks = Marks(tmp_path)
    marks.put(event(1), "right", None)
    db = sqlite3.connect(tmp_path / FILE)
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(MarkError, match=r"marks\.db cannot be used: written by a newer version"):
        marks.put(event(2), "right", None)
    assert list(tmp_path.glob("marks.corrupt-*")) == []


def test_a_folder_that_takes_nothing_is_told(tmp_path: Path) -> None:
    with pytest.raises(MarkError, match="cannot be used: unable to open") as refused:
        Marks(tmp_path / "gone").put(event(1), "right", None)
    assert refused.value.reason == "unwritable"
