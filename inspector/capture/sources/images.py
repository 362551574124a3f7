"""A folder of pictures: once, for ever, or watched for new ones."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from inspector.capture.sources.base import DamagedPicture, Picture, SourceError
from inspector.capture.sources.pictures import (
    FileChangedError,
    PictureError,
    decode_picture,
    file_bytes,
    is_cut,
    is_picture,
    version_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from inspector.capture.sources.base import Arrival, Intake, Settings
    from inspector.capture.sources.pictures import Version

POLL_S = 0.2
"""A folder is looked at this often; a file is complete when it did not change in between."""

PATIENCE_S = 10.0
"""A file that is not as it was seen, or in a watched folder ends within its picture, is still being
written, unless it stays like that so long."""


class ImagesSource:
    """The pictures of a folder in the order of their names. They wait for one another.

    A file is picked up only when it is complete: its size and time did not change between two
    looks, nor from then on until it was read. In a watched folder it must not break off either;
    later ones go first meanwhile. A folder that is not watched is through only when nothing in it
    is still being written. Names that begin with a dot, and those that are no picture's, are
    passed over.

    What was given outlives the connection: a folder that cannot be read for a while goes on where
    it was.

    Args:
        most_pixels: larger pictures are damaged (`too_large`), and not even decoded where their
            header says their size.
    """

    live = False
    one_size = False
    fps = None

    def __init__(
        self, folder: Path, *, watch: bool, loop: bool, every_s: float, most_pixels: int
    ) -> None:
        self._folder = folder
        self._watch = watch
        self._loop = loop
        self._every_s = every_s
        self._most_pixels = most_pixels
        self._done: dict[str, Version] = {}

    def open(self) -> None:
        """Look whether the folder can be read. Raises SourceError `not_found`."""
        self._look()

    def pictures(self, intake: Intake) -> Iterator[Picture]:
        """The pictures, one after the other."""
        done = self._done
        seen: dict[str, Version] = {}
        partial: dict[str, tuple[Version, float]] = {}  # not whole; until when it is waited for
        while True:
            there = self._look()
            steady = [name for name in sorted(there) if seen.get(name) == there[name]]
            given = waiting = False
            for name in steady:
                if done.get(name) == there[name]:
                    continue
                content = self._content(name, there[name], partial)
                if content is None:
                    waiting = True
                    continue
                yield self._picture(name, content, intake)
                done[name] = there[name]
                given = True
                intake.pause(self._every_s)
            if given:
                # Names that are gone are forgotten: nothing grows but the folder.
                for name in done.keys() - there.keys():
                    del done[name]
                partial = {name: held for name, held in partial.items() if name in there}
                continue
            settled = there == seen and not waiting
            if settled and not self._watch:
                if not there and (self._loop or not done):
                    msg = (
                        f"the folder {self._folder} holds no pictures; correct folder in the "
                        "station file, or set watch: true to wait for some"
                    )
                    raise SourceError("not_found", msg)
                if not self._loop:
                    return
                done.clear()
            seen = there
            intake.pause(0.0 if self._loop and settled else POLL_S)

    def close(self) -> None:
        """Nothing is held open."""

    def _look(self) -> dict[str, Version]:
        """The pictures in the folder, and what tells whether they have changed."""
        found: dict[str, Version] = {}
        try:
            with os.scandir(self._folder) as entries:
                for entry in entries:
                    if not is_picture(entry.name):
                        continue
                    try:
                        stat = entry.stat()
                        if entry.is_file():
                            found[entry.name] = version_of(stat)
                    except OSError:
                        continue  # gone, or not ours to read: looked at again next time
        except OSError as error:
            msg = f"the folder {self._folder} cannot be read ({error.strerror}); correct folder"
            raise SourceError("not_found", f"{msg} in the station file") from None
        return found

    def _content(
        self, name: str, version: Version, partial: dict[str, tuple[Version, float]]
    ) -> bytes | PictureError | None:
        """The file's bytes, or why there are none; None while it is still being written.

        The look goes before all that is read after it, and the judge may take its time for each:
        meanwhile a file may have been replaced, whose new version the next look finds.
        """
        now = time.monotonic()
        held_version, until = partial.get(name, (None, 0.0))
        waited_for = held_version == version
        if waited_for and now < until:
            return None
        try:
            # Some network shares go on telling of an older version than the one that opens: after
            # the wait it is taken as it is, else it would be waited for for ever.
            content = file_bytes(self._folder / name, None if waited_for else version)
            whole = waited_for or not (self._watch and is_cut(content))
        except FileChangedError as error:
            if waited_for:
                return error
            whole = False
        except PictureError as error:
            return error
        if whole:
            return content
        partial[name] = (version, now + PATIENCE_S)
        return None

    def _picture(self, name: str, content: bytes | PictureError, intake: Intake) -> Picture:
        arrival: Arrival = intake.arrive()
        try:
            if isinstance(content, PictureError):
                raise content
            path = self._folder / name
            pixels = decode_picture(path, content, most_pixels=self._most_pixels)
        except PictureError as error:
            return Picture(arrival, damage=_told(f"{error.cause}: {error}"), origin=_told(name))
        return from_pixels(arrival, pixels, origin=_told(name))


def _told(text: str) -> str:
    """Text with a file's name in it as events can carry it: UTF-8, which names need not be."""
    return os.fsencode(text).decode(errors="backslashreplace")


def from_pixels(arrival: Arrival, pixels: NDArray[np.uint8], origin: str | None) -> Picture:
    """A picture whose pixels are there already, as (height, width, 3) uint8 BGR."""

    def write(out: NDArray[np.uint8], y: int, x: int) -> None:
        part = pixels[y : y + out.shape[0], x : x + out.shape[1]]
        if part.shape != out.shape:
            msg = f"expected a part of {out.shape[:2]} pixels, the picture has {part.shape[:2]}"
            raise DamagedPicture(msg)
        np.copyto(out, part)

    return Picture(arrival, pixels.shape[0], pixels.shape[1], write, origin=origin)


def make(settings: Settings, username: str | None, password: str | None) -> ImagesSource:
    """The source of a camera of kind `images`."""
    del username, password
    source = settings["source"]
    most = round(settings["max_megapixels"] * 1e6)
    return ImagesSource(
        Path(source["folder"]),
        watch=source["watch"],
        loop=source["loop"],
        every_s=source["every_s"],
        # With a region only a part is kept; then the whole may be as large as memory allows.
        most_pixels=most if settings.get("region") is None else max(most, 200_000_000),
    )
