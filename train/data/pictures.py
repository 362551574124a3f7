"""Reading picture files: what cannot be read is named and counted, and few may be."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from inspector.capture.sources.headers import PNG, TIFF, full_scale
from inspector.capture.sources.pictures import PictureError, decode_picture, file_bytes
from train.distortions.base import Picture
from train.errors import DataError
from train.whole import written_whole

SUFFIXES = frozenset({".png", ".bmp", ".webp", ".jpg", ".jpeg", ".tif", ".tiff", ".ppm"})
LARGEST_SHARE_LOST = 0.01
"""More unreadable or tiny pictures than this share are an error."""
_NAMED = 10
_GREY = 2
_WHITE_OF_12_BITS = 16
"""In a file of 16 bits, as it comes out with 8."""
_MAY_HAVE_16_BITS = (PNG, *TIFF, b"P5", b"P6")
_MOST = 65535
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


def is_aside(name: str) -> bool:
    """Whether a file or folder is some program's own: hidden, of a disk station, of an archive.

    Example:
        >>> [is_aside(name) for name in (".thumbnails", "@eaDir", "__MACOSX", "part-7.png")]
        [True, True, True, False]
    """
    return name.startswith((".", "@")) or name == "__MACOSX"


def picture_files(folder: Path) -> list[Path]:
    """The picture files below a folder, in the order of their paths, without what lies aside.

    Raises:
        DataError: There is no such folder.
    """
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}")
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and not any(map(is_aside, path.relative_to(folder).parts))
        and path.is_file()
    )


def read_picture(path: Path, smallest_side: int = 1) -> Picture:
    """Read one picture as BGR, as the station reads its files.

    Raises:
        DataError: Unreadable, torn, or a side below `smallest_side` pixels; or of 16 bits of which
            the upper ones are never used, unless the file says that white is less.
    """
    try:
        data = file_bytes(path)
        picture = decode_picture(path, data)
        deep = data.startswith(_MAY_HAVE_16_BITS) and full_scale(data, _MOST) == _MOST
        dark = deep and int(picture.max()) <= _WHITE_OF_12_BITS
        raw = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if dark else None
    except PictureError as error:
        raise DataError(f"{path}: not a readable picture ({error})") from error
    if raw is not None and raw.dtype == np.uint16:
        light = raw if raw.ndim == _GREY else raw[:, :, :3]
        raise DataError(
            f"{path}: of 16 bits, but no value is above {light.max()}; write it out so that white"
            " is 65535, or with 8 bits"
        )
    height, width = picture.shape[:2]
    if min(height, width) < smallest_side:
        raise DataError(
            f"{path}: {width}x{height} pixels, but at least {smallest_side} are needed each way"
        )
    return picture


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
