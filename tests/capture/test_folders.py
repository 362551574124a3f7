"""Folders whose files are written, rewritten and replaced while others are judged."""

from __future__ import annotations

import time

import cv2
import numpy as np
import pytest

from inspector.capture.sources import images as module
from inspector.capture.sources.base import Arrival


class Intake:
    """A worker that only waits."""

    def arrive(self, pts_s=None, read_s=0.0):
        return Arrival(0, time.monotonic_ns(), time.time_ns(), pts_s, read_s)

    def lose(self, frames):
        del frames

    def pause(self, seconds):
        time.sleep(seconds)


def source_of(folder, *, watch):
    return module.ImagesSource(folder, watch=watch, loop=False, every_s=0.0, most_pixels=10**6)


def greymap(value):
    return b"P5\n64 48\n255\n" + bytes([value]) * (64 * 48)


def shade(picture):
    """The value of an even picture, or why there is none."""
    if picture.write is None:
        return picture.damage
    out = np.empty((picture.height, picture.width, 3), np.uint8)
    picture.write(out, 0, 0)
    return int(out[0, 0, 0])


@pytest.mark.parametrize("watch", [True, False])
def test_a_file_replaced_while_others_are_judged_is_given_once(tmp_path, watch):
    for name in "ab":
        (tmp_path / f"{name}.pgm").write_bytes(greymap(1))
    pictures = source_of(tmp_path, watch=watch).pictures(Intake())
    assert shade(next(pictures)) == 1
    (tmp_path / ".new").write_bytes(greymap(2))
    (tmp_path / ".new").rename(tmp_path / "b.pgm")
    new = next(pictures)
    assert (new.origin, shade(new)) == ("b.pgm", 2)
    (tmp_path / "c.pgm").write_bytes(greymap(3))
    assert shade(next(pictures)) == 3
    if not watch:
        assert list(pictures) == []


@pytest.mark.parametrize("watch", [True, False])
def test_a_file_rewritten_while_others_are_judged_is_given_when_it_is_whole(tmp_path, watch):
    for name in "ab":
        (tmp_path / f"{name}.pgm").write_bytes(greymap(1))
    half, rest = len(greymap(2)) // 2, []

    class Writer(Intake):
        """Goes on writing while the source waits."""

        def pause(self, seconds):
            super().pause(seconds)
            if seconds and rest:
                with (tmp_path / "b.pgm").open("ab") as file:
                    file.write(rest.pop())

    pictures = source_of(tmp_path, watch=watch).pictures(Writer())
    assert shade(next(pictures)) == 1
    (tmp_path / "b.pgm").write_bytes(greymap(2)[:half])
    rest.append(greymap(2)[half:])
    new = next(pictures)
    assert (new.origin, shade(new)) == ("b.pgm", 2)
    if not watch:
        assert list(pictures) == []


def test_a_share_that_tells_of_older_versions_than_it_opens_is_read_in_the_end(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(module, "PATIENCE_S", 0.5)
    monkeypatch.setattr(module, "version_of", lambda stat: (stat.st_size, 0, stat.st_ino))
    (tmp_path / "a.pgm").write_bytes(greymap(1))
    given = source_of(tmp_path, watch=False).pictures(Intake())
    assert [(picture.origin, shade(picture)) for picture in given] == [("a.pgm", 1)]


def test_a_file_that_stays_incomplete_holds_nobody_up_and_is_named_in_the_end(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(module, "PATIENCE_S", 4.0)
    for name in ("000.png", "001.png"):
        cv2.imwrite(str(tmp_path / name), np.zeros((48, 64, 3), np.uint8))
    data = (tmp_path / "000.png").read_bytes()
    (tmp_path / "000.png").write_bytes(data[:-5])
    pictures = source_of(tmp_path, watch=True).pictures(Intake())
    first, second = next(pictures), next(pictures)
    assert (first.origin, first.damage) == ("001.png", None)
    assert second.origin == "000.png"
    assert "truncated" in second.damage
    (tmp_path / "000.png").write_bytes(data)
    assert next(pictures).damage is None
