"""A set of labelled frames, whatever it was read from: files, labels, and what is known of each."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from train.data import live
from train.data.frame import Frame
from train.data.pictures import Lost, is_aside, picture_files, read_all
from train.distortions import Picture
from train.errors import DataError

MANIFEST = "manifest.json"


def read_provenance(folder: Path) -> list[tuple[dict[str, Any], dict[str, str]]]:
    """Every frame's row of a made set with the source, author and licence of its reference.

    Raises:
        DataError: No manifest: not a made set, or not finished; or a torn one.
    """
    manifest = folder / MANIFEST
    try:
        document = json.loads(manifest.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(
            f"{manifest}: {error.strerror}; the set is not finished, run generate again"
        ) from error
    except ValueError as error:
        raise DataError(f"{manifest} is no JSON ({error}); make the set anew") from error
    return [(row, document["references"][row["reference"]]) for row in document["frames"]]


def read_made_set(folder: Path) -> list[Frame]:
    """The frames of a set that `generate` made. Raises DataError, as `read_provenance`."""
    return [
        Frame(folder / row["file"], row["label"], row["severity"], known["source"], row["variant"])
        for row, known in read_provenance(folder)
    ]


def read_labelled_folder(folder: Path, labels: Sequence[str]) -> list[Frame]:
    """The frames of `folder/LABEL/*.png` (and other picture files), at any depth below a label.

    Raises:
        DataError: A folder whose name is no label, or a label without pictures.
    """
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}")
    found = sorted(path for path in folder.iterdir() if path.is_dir() and not is_aside(path.name))
    strangers = [path.name for path in found if path.name not in labels]
    if strangers:
        raise DataError(
            f"{folder}: {', '.join(strangers)} is no label; there are: {', '.join(labels)}"
        )
    frames = [
        Frame(path, place.name, 0, path.relative_to(place).with_suffix("").as_posix())
        for place in found
        for path in picture_files(place)
    ]
    refuse_empty(frames, [path.name for path in found] or list(labels), folder)
    return frames


def refuse_empty(frames: Sequence[Frame], labels: Sequence[str], folder: Path) -> None:
    """Make sure that every label has pictures.

    Raises:
        DataError: One has none.
    """
    counts = Counter(frame.label for frame in frames)
    empty = [label for label in labels if not counts[label]]
    if empty:
        raise DataError(f"{folder}: no pictures for {', '.join(empty)}")


def pictures_of(
    frames: Sequence[Frame], smallest_side: int, folder: Path
) -> Iterator[tuple[Frame, Picture]]:
    """Read frames in order, leaving out what cannot be used.

    Raises:
        DataError: At the end, where more than 1 % cannot be used.
    """
    lost = Lost()
    by_path = {frame.path: frame for frame in frames}
    for path, picture in read_all(by_path, smallest_side, lost):
        yield by_path[path], picture
    lost.check(len(by_path), folder)


def read_set(folder: Path, labels: Sequence[str]) -> list[Frame]:
    """The frames of a folder, whichever of the three kinds it is: made, LIVE, or labelled.

    Raises:
        DataError: As the reader of that kind.
    """
    if (folder / "plan.json").is_file():
        return [frame for frame in read_made_set(folder) if frame.label in labels]
    if live.is_live(folder):
        return live.read_live(folder, labels)
    return read_labelled_folder(folder, labels)
