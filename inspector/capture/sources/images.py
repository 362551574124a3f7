"""A folder of pictures: once, for ever, or watched for new ones."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from inspector.capture.sources.base import DamagedPicture, Picture, SourceError
from inspector.capture.sources.pictures import PictureError, is_picture, read_picture

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from inspector.capture.sources.base import Arrival, Intake, Settings

POLL_S = 0.2
"""A folder is looked at this often; a file is complete when it did not change in between."""

Version = tuple[int, int, int]


class ImagesSource:
    """The pictures of a folder in the order of their names. They wait for one another.

    A file is picked up only when it is complete: its size and time did not change between two
    looks. Names that begin with a dot, and those that are no picture's, are passed over.

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

    def open(self) -> None:
        """Look whether the folder can be read. Raises SourceError `not_found`."""
        self._look()

    def pictures(self, intake: Intake) -> Iterator[Picture]:
        """The pictures, one after the other."""
        done: dict[str, Version] = {}
        seen: dict[str, Version] = {}
        while True:
            there = self._look()
            steady = [name for name in sorted(there) if seen.get(name) == there[name]]
            new = [name for name in steady if done.get(name) != there[name]]
            if new:
                for name in new:
                    yield self._read(name, intake)
                    done[name] = there[name]
                    intake.pause(self._every_s)
                # Names that are gone are forgotten: nothing grows but the folder.
                done = {name: version for name, version in done.items() if name in there}
                continue
            settled = there == seen
            if settled and not self._watch:
                if not self._loop or not there:
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
                            found[entry.name] = (stat.st_size, stat.st_mtime_ns, stat.st_ino)
                    except OSError:
                        continue  # gone, or not ours to read: looked at again next time
        except OSError as error:
            msg = f"the folder {self._folder} cannot be read ({error.strerror}); correct folder"
            raise SourceError("not_found", f"{msg} in the station file") from None
        return found

    def _read(self, name: str, intake: Intake) -> Picture:
        arrival: Arrival = intake.arrive()
        try:
            pixels = read_picture(self._folder / name, most_pixels=self._most_pixels)
        except PictureError as error:
            return Picture(arrival, damage=f"{error.cause}: {error}", origin=name)
        return from_pixels(arrival, pixels, origin=name)


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
    most = int(settings["max_megapixels"] * 1e6)
    return ImagesSource(
        Path(source["folder"]),
        watch=source["watch"],
        loop=source["loop"],
        every_s=source["every_s"],
        # With a region only a part is kept; then the whole may be as large as memory allows.
        most_pixels=most if settings.get("region") is None else max(most, 200_000_000),
    )
