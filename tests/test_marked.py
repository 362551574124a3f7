"""The pictures of marked events outlive the evidence, under a bound."""

from __future__ import annotations

import errno
import hashlib
import os
from typing import TYPE_CHECKING, Any

import pytest

from inspector.config.evidence import Evidence
from inspector.errors import MarkError
from inspector.events.documents import with_evidence
from inspector.labelled import export
from inspector.marked import FOLDER, MarkedPictures
from inspector.marks import Mark, Marked
from inspector.observe.health import Health
from inspector.viewing import Viewing
from tests.events.making import Maker, open_outbox
from tests.test_marks import event

if TYPE_CHECKING:
    from pathlib import Path


def pictured(state: Path, number: int, size: int = 300_000) -> dict[str, Any]:
    """An event whose picture lies in the evidence."""
    data = bytes([number]) * size
    uri = f"2026-01-31/infeed/{number}.png"
    place = state / "evidence" / uri
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(data)
    told = {"uri": uri, "sha256": hashlib.sha256(data).hexdigest(), "media_type": "image/png"}
    return event(number, "gblur", evidence=told)


def kept(state: Path) -> list[str]:
    folder = state / FOLDER
    return sorted(path.stem for path in folder.iterdir()) if folder.exists() else []


def lose_evidence(state: Path) -> None:
    for path in (state / "evidence").rglob("*.png"):
        path.unlink()


def test_a_marked_picture_is_exported_after_the_evidence_gave_it_up(tmp_path: Path) -> None:
    one = pictured(tmp_path, 1)
    MarkedPictures(tmp_path, Evidence()).keep(one)
    lose_evidence(tmp_path)
    marked = [Marked(Mark("right", None, 0), one)]
    done = export(marked, tmp_path / "evidence", tmp_path / FOLDER, tmp_path / "out")
    assert (done.copied, dict(done.left_out)) == (1, {})
    assert len(list((tmp_path / "out" / "gblur").glob("*.png"))) == 1


def test_it_takes_no_room_while_the_evidence_has_it(tmp_path: Path) -> None:
    one = pictured(tmp_path, 1)
    pictures = MarkedPictures(tmp_path, Evidence())
    pictures.keep(one)
    pictures.keep(one)  # marked anew
    assert (tmp_path / "evidence" / one["data"]["evidence"]["uri"]).stat().st_nlink == 2


def test_on_another_file_system_it_is_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_link(*names: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link", *names)

    monkeypatch.setattr(os, "link", no_link)
    one = pictured(tmp_path, 1)
    MarkedPictures(tmp_path, Evidence()).keep(one)
    assert kept(tmp_path) == [one["id"]]
    lose_evidence(tmp_path)
    MarkedPictures(tmp_path, Evidence()).keep(pictured(tmp_path, 2))
    assert len(kept(tmp_path)) == 2
    assert not list((tmp_path / FOLDER).glob(".*")), "no half of one is left"


def test_beyond_the_bound_the_oldest_go(tmp_path: Path) -> None:
    pictures = MarkedPictures(tmp_path, Evidence(marked_mb=1))
    events = [pictured(tmp_path, number) for number in range(6)]
    for each in events:
        pictures.keep(each)
    assert kept(tmp_path) == [each["id"] for each in events[-3:]]


def test_nothing_is_kept_where_nothing_is_there_or_asked_for(tmp_path: Path) -> None:
    one = pictured(tmp_path, 1)
    MarkedPictures(tmp_path, None).keep(one)
    MarkedPictures(tmp_path, Evidence(marked_mb=0)).keep(one)
    lose_evidence(tmp_path)
    MarkedPictures(tmp_path, Evidence()).keep(one)
    MarkedPictures(tmp_path, Evidence()).keep(event(2, "gblur"))
    assert kept(tmp_path) == []


def test_a_disk_that_takes_nothing_takes_no_mark_away(tmp_path: Path) -> None:
    one = pictured(tmp_path, 1)
    (tmp_path / FOLDER).write_text("a file where the folder should be")
    MarkedPictures(tmp_path, Evidence()).keep(one)


def test_the_page_keeps_and_forgets_them_with_the_mark(tmp_path: Path) -> None:
    outbox = open_outbox(tmp_path)
    evidence = pictured(tmp_path, 1)["data"]["evidence"]
    told = with_evidence(Maker()(), evidence, None)
    outbox.append([told]).result(10)
    viewing = Viewing(
        tmp_path,
        MarkedPictures(tmp_path, Evidence()),
        status=dict,
        ready=Health().ready,
    )
    viewing.show(outbox, lambda: ("gblur", "refimgs"))
    with pytest.raises(MarkError):
        viewing.mark(told.id, "wrong", "no-such-label")
    assert kept(tmp_path) == []
    viewing.mark(told.id, "wrong", "refimgs")
    assert kept(tmp_path) == [told.id]
    for other in ("*", "?" * len(told.id), f"../{FOLDER}/*"):
        viewing.mark(other, None, None)
    assert kept(tmp_path) == [told.id]
    viewing.mark(told.id, None, None)
    assert kept(tmp_path) == []
    outbox.close()
