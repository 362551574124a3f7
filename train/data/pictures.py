"""Reading picture files: what cannot be read is named and counted, and few may be."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from train.distortions.base import Picture
from train.errors import DataError
from train.whole import written_whole

SUFFIXES = frozenset({".png", ".bmp", ".webp", ".jpg", ".jpeg", ".tif", ".tiff", ".ppm"})
LARGEST_SHARE_LOST = 0.01
"""More unreadable or tiny pictures than this share are an error."""
_NAMED = 10
_LOG = logging.getLogger(__name__)


@dataclass(slots=True)
class Lost:
    """The pictures of a set that could not be used, each with its reason."""

    reasons: list[str] = field(default_factory=list)

    def check(self, total: int, place: Path) -> None:
        """Name what is lost in a warning; refuse the set where it is too much.

        One picture may always be lost, since in a small set it would be more than 1 %.

        Raises:
            DataError: More than 1 % of `total`, naming the first ten.
        """
        if not self.reasons:
            return
        first = "\n  ".join(self.reasons[:_NAMED])
        text = f"{len(self.reasons)} of {total} pictures in {place} cannot be used"
        if len(self.reasons) > max(1, LARGEST_SHARE_LOST * total):
            raise DataError(f"{text}, which is more than {LARGEST_SHARE_LOST:.0%}:\n  {first}")
        _LOG.warning("%s and are left out:\n  %s", text, first)


def picture_files(folder: Path) -> list[Path]:
    """The picture files below a folder, in the order of their paths; hidden ones are no pictures.

    Raises:
        DataError: There is no such folder.
    """
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}")
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    )


def read_picture(path: Path, smallest_side: int = 1) -> Picture:
    """Read one picture as BGR; grey and transparent ones become BGR too.

    Raises:
        DataError: Unreadable, or a side below `smallest_side` pixels.
    """
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error
    try:
        picture = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    except cv2.error as error:  # such as a side or an area that its header cannot mean
        raise DataError(f"{path}: not a readable picture ({error.err})") from error
    if picture is None:
        raise DataError(f"{path}: not a readable picture")
    height, width = picture.shape[:2]
    if min(height, width) < smallest_side:
        raise DataError(
            f"{path}: {width}x{height} pixels, but at least {smallest_side} are needed each way"
        )
    return np.asarray(picture, dtype=np.uint8)


def read_all(
    paths: Iterable[Path], smallest_side: int, lost: Lost
) -> Iterator[tuple[Path, Picture]]:
    """Read pictures one after the other; those that cannot be used go to `lost`."""
    for path in paths:
        try:
            yield path, read_picture(path, smallest_side)
        except DataError as error:
            lost.reasons.append(str(error))


def write_png(path: Path, picture: Picture) -> None:
    """Write a picture without loss, whole or not at all; its folder is made.

    Raises:
        OSError: No space, or no right to write.
    """
    _, data = cv2.imencode(".png", picture, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    with written_whole(path) as partial:
        partial.write_bytes(data.tobytes())
