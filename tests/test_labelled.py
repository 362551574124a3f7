"""Marked events as a labelled folder, and as training reads it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import cv2
import pytest

from inspector.cli import status_of
from inspector.errors import UserError
from inspector.labelled import CHANGED, CONTRADICTED, NO_PICTURE, REMOVED, UNNAMED, export
from inspector.marks import Mark, Marked, Marks
from tests.engine import tiny_engine
from tests.test_marks import event
from train.data.labelled import read_labelled_folder
from train.labels import label_set

KEPT = Path("nowhere")
"""No marked picture was kept."""


@pytest.fixture
def evidence(tmp_path: Path) -> Path:
    folder = tmp_path / "state" / "evidence"
    folder.mkdir(parents=True)
    return folder


def kept(evidence: Path, number: int, label: str = "gblur", suffix: str = "png") -> dict[str, Any]:
    """An event whose picture lies in the folder."""
    data = cv2.imencode(f".{suffix}", tiny_engine.picture(label, seed=number))[1].tobytes()
    (evidence / f"{number}.{suffix}").write_bytes(data)
    told = {
        "uri": f"{number}.{suffix}",
        "sha256": hashlib.sha256(data).hexdigest(),
        "media_type": "image/jpeg" if suffix == "jpg" else f"image/{suffix}",
    }
    return event(number, label, evidence=told)


def right(event: dict[str, Any]) -> Marked:
    return Marked(Mark("right", None, 0), event)


def wrong(event: dict[str, Any], label: str | None) -> Marked:
    return Marked(Mark("wrong", label, 0), event)


def pictures(out: Path) -> list[str]:
    return sorted(str(path.relative_to(out)) for path in out.rglob("*.*"))


def test_pictures_lie_by_what_they_are_in_truth_and_training_reads_them(
    tmp_path: Path, evidence: Path
) -> None:
    out = tmp_path / "out"
    marked = [right(kept(evidence, n)) for n in range(2)]
    marked += [wrong(kept(evidence, n), "refimgs") for n in range(2, 4)]
    done = export(marked, evidence, KEPT, out)
    assert (done.labels, done.copied, done.moved, done.lossy) == (
        {"gblur": 2, "refimgs": 2},
        4,
        0,
        0,
    )
    assert pictures(out) == [
        "gblur/packing-07-infeed-1-0.png",
        "gblur/packing-07-infeed-1-1.png",
        "refimgs/packing-07-infeed-1-2.png",
        "refimgs/packing-07-infeed-1-3.png",
    ]
    frames = read_labelled_folder(out, label_set("all"))
    assert sorted(frame.label for frame in frames) == ["gblur", "gblur", "refimgs", "refimgs"]
    assert (out / "gblur" / "packing-07-infeed-1-0.png").read_bytes() == (
        evidence / "0.png"
    ).read_bytes()


def test_what_is_left_out_is_counted_with_its_reason(tmp_path: Path, evidence: Path) -> None:
    gone, changed = kept(evidence, 2), kept(evidence, 3)
    (evidence / "2.png").unlink()
    (evidence / "3.png").write_bytes(b"another picture")
    marked = [right(event(1)), right(gone), right(changed), wrong(kept(evidence, 4), None)]
    twice = kept(evidence, 5)
    marked += [right(twice), wrong({**twice, "id": "e6"}, "wn")]
    done = export(marked, evidence, KEPT, tmp_path / "out")
    assert done.left_out == {NO_PICTURE: 1, REMOVED: 1, CHANGED: 1, UNNAMED: 1, CONTRADICTED: 1}
    assert pictures(tmp_path / "out") == ["wn/packing-07-infeed-1-5.png"]


def test_a_later_run_adds_what_is_new_and_moves_what_was_marked_anew(
    tmp_path: Path, evidence: Path
) -> None:
    out = tmp_path / "out"
    first, second = kept(evidence, 1), kept(evidence, 2, suffix="jpg")
    export([right(first)], evidence, KEPT, out)
    (out / "gblur" / "of-someone-else.png").write_bytes(b"left alone")
    (evidence / "1.png").unlink()  # retention: the copy is there
    done = export([wrong(first, "jpeg"), right(second)], evidence, KEPT, out)
    assert (done.copied, done.moved, done.lossy, done.left_out) == (1, 1, 1, {})
    assert pictures(out) == [
        "gblur/of-someone-else.png",
        "gblur/packing-07-infeed-1-2.jpg",
        "jpeg/packing-07-infeed-1-1.png",
    ]


def test_a_label_that_is_no_name_of_a_folder_leads_nowhere(tmp_path: Path, evidence: Path) -> None:
    done = export([wrong(kept(evidence, 1), "../up")], evidence, KEPT, tmp_path / "out")
    assert done.left_out == {UNNAMED: 1}
    assert not (tmp_path / "up").exists()


def test_a_folder_that_cannot_be_written_is_the_users_mistake(
    tmp_path: Path, evidence: Path
) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match="cannot be written: Not a directory"):
        export([right(kept(evidence, 1))], evidence, KEPT, tmp_path / "file")


def test_the_command_exports_and_says_what_it_left_out(
    tmp_path: Path, evidence: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    marks = Marks(tmp_path / "state")
    marks.put(kept(evidence, 1, suffix="jpg"), "right", None)
    marks.put(event(2), "right", None)
    out = tmp_path / "out"
    options = ["events", "export", "--state", str(tmp_path / "state"), "--out", str(out)]
    assert status_of(options) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0] == f"{out}: 1 gblur (1 new, 0 moved)"
    assert told[1] == f"left out 1: {NO_PICTURE}"
    assert "1 of them were kept as JPEG and have its traces" in told[2]
    assert status_of([*options, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "labels": {"gblur": 1},
        "copied": 0,
        "moved": 0,
        "left_out": {NO_PICTURE: 1},
        "lossy": 1,
    }


def test_the_command_says_where_nothing_is_marked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["events", "export", "--state", str(tmp_path), "--out", str(tmp_path / "out")]
    assert status_of(options) == 2
    assert "nothing is marked: marks.db is not in" in capsys.readouterr().err
