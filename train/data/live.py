"""The LIVE image quality database, release 2, in the folder as it is distributed.

`refimgs/`, `jp2k/`, `jpeg/`, `wn/`, `gblur/` and `fastfading/`, each of the last five with an
`info.txt` of one line a picture: reference, picture, parameter. A parameter of 0 means that the
line's picture is the undistorted reference, which LIVE keeps among the others: such a line is
passed over, since the reference is in `refimgs/` already.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

from train.data.frame import Frame
from train.data.pictures import picture_files
from train.errors import DataError
from train.labels import GOOD

DISTORTED = ("fastfading", "gblur", "jp2k", "jpeg", "wn")
INFO = "info.txt"
_LOG = logging.getLogger(__name__)


def is_live(folder: Path) -> bool:
    """Whether a folder looks like LIVE release 2."""
    return (folder / GOOD).is_dir() and any((folder / d / INFO).is_file() for d in DISTORTED)


def read_live(folder: Path, labels: Sequence[str]) -> list[Frame]:
    """The frames of the database whose labels are wanted, each with its reference as source.

    A distortion whose folder is not there, as in a part of the database, is named in a warning.

    Raises:
        DataError: A folder without info.txt, a line that cannot be read, or a picture that a line
            names and that is not there.
    """
    frames: list[Frame] = []
    if GOOD in labels:
        frames += [Frame(p, GOOD, 0, p.name.lower()) for p in picture_files(folder / GOOD)]
    for label in DISTORTED:
        if label not in labels:
            continue
        if (folder / label).is_dir():
            frames += _distorted(folder / label, label)
        else:
            _LOG.warning("%s has no folder %s: that label has no pictures", folder, label)
    if not frames:
        raise DataError(f"{folder}: no pictures of LIVE for the labels {', '.join(labels)}")
    return frames


def _distorted(folder: Path, label: str) -> list[Frame]:
    info = folder / INFO
    try:
        lines = info.read_text(encoding="latin-1").splitlines()
    except OSError as error:
        raise DataError(f"{info}: {error.strerror}") from error
    present = {path.name.lower(): path for path in picture_files(folder)}
    frames = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            source, name, value = line.split()
            parameter = float(value)
        except ValueError:
            raise DataError(
                f"{info}, line {number}: expected 'reference picture parameter', not {line!r}"
            ) from None
        if parameter == 0:
            continue
        if name.lower() not in present:
            raise DataError(f"{info}, line {number}: there is no picture {folder / name}")
        frames.append(Frame(present[name.lower()], label, 0, source.lower()))
    return frames
