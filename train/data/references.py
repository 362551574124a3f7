"""Pristine pictures, split by source.

A folder of references has the sub-folders `train`, `val` and `test`, or some of them, and may have
a `SOURCES.csv` with one row a picture (`file, package, path, author, licence, …`). A folder without
any of them is split here, by the digest of each file's name (of its package and path in the table,
where it has them), so that adding a picture moves no other.
"""

import csv
import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from train.data.pictures import Lost, picture_files, read_all
from train.distortions.base import Picture
from train.errors import DataError

SPLITS = ("train", "val", "test")
SMALLEST_SIDE = 256
UNKNOWN = "unknown"
"""Author and licence of a reference that no table tells of."""
_HELD_BACK = 0.1
"""Share of an unsplit folder that goes to `val`, and as much again to `test`."""
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reference:
    """One pristine picture with where it comes from."""

    name: str
    path: Path
    source: str
    author: str
    licence: str


def list_references(folder: Path, split: str) -> list[Reference]:
    """The references of one split, in the order of their names.

    Raises:
        DataError: No such folder or split, nothing in it, or one source on two sides.
    """
    if split not in SPLITS:
        raise DataError(f"split must be one of {', '.join(SPLITS)}, not {split!r}")
    by_split = references_by_split(folder)
    if not by_split[split]:
        raise DataError(f"{folder} has no pictures for the split {split!r}")
    return by_split[split]


def references_by_split(folder: Path) -> dict[str, list[Reference]]:
    """The references of every split, each in the order of their names; a split may be empty.

    Raises:
        DataError: No such folder, or one source on two sides.
    """
    known = _sources(folder)
    by_split = {name: _of_split(folder, name, known) for name in SPLITS}
    refuse_leakage(by_split)
    return by_split


def load_references(
    references: list[Reference], folder: Path
) -> tuple[list[Reference], list[Picture]]:
    """Decode references into memory; those that cannot be used are left out.

    Raises:
        DataError: More than 1 % cannot be used.
    """
    lost = Lost()
    by_path = {reference.path: reference for reference in references}
    kept, pictures = [], []
    for path, picture in read_all(by_path, SMALLEST_SIDE, lost):
        kept.append(by_path[path])
        pictures.append(picture)
    lost.check(len(references), folder)
    return kept, pictures


def large_enough(
    references: list[Reference], pictures: list[Picture], side: int, folder: Path
) -> tuple[list[Reference], list[Picture]]:
    """Those with at least `side` pixels each way: others have no tile of that side.

    They are no faulty ones, so that they are said and not held against the 1 %.

    Raises:
        DataError: None is large enough.
    """
    pairs = [
        (reference, picture)
        for reference, picture in zip(references, pictures, strict=True)
        if min(picture.shape[:2]) >= side
    ]
    say_too_small(len(references) - len(pairs), len(references), side, folder)
    return [reference for reference, _ in pairs], [picture for _, picture in pairs]


def say_too_small(count: int, total: int, side: int, folder: Path) -> None:
    """Tell the user how many of the pictures that could be read have no tile of `side` pixels.

    Raises:
        DataError: All of them.
    """
    if count == total:
        raise DataError(
            f"{folder}: none of {total} pictures has {side} pixels each way;"
            " give a smaller side, or larger pictures"
        )
    if count:
        _LOG.warning(
            "%d of %d pictures in %s are smaller than %d pixels and are not used",
            count,
            total,
            folder,
            side,
        )


def refuse_leakage(by_split: dict[str, list[Reference]]) -> None:
    """Make sure that no source lies on two sides of the split.

    Raises:
        DataError: One does; the text names it and both files.
    """
    seen: dict[str, tuple[str, str]] = {}
    for split, references in by_split.items():
        for reference in references:
            other = seen.setdefault(reference.source, (split, reference.name))
            if other[0] != split:
                raise DataError(
                    f"the source {reference.source!r} is on both sides of the split:"
                    f" {other[1]} ({other[0]}) and {reference.name} ({split})"
                )


def _sources(folder: Path) -> dict[str, dict[str, str]]:
    table = folder / "SOURCES.csv"
    if not table.is_file():
        return {}
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:  # as spreadsheets write it
            rows = list(csv.DictReader(file))
    except UnicodeDecodeError as error:
        raise DataError(f"{table} is not UTF-8: {error}; write it out as such") from error
    if rows and "file" not in rows[0]:
        raise DataError(f"{table} has no column 'file'")
    known = {
        PurePosixPath(row["file"].replace("\\", "/")).as_posix(): row for row in rows if row["file"]
    }
    strangers = [file for file in known if not (folder / file).is_file()]
    if strangers:
        _LOG.warning(
            "%d of %d rows of %s are of files that are not there, %s for one",
            len(strangers),
            len(known),
            table,
            strangers[0],
        )
    return known


def _of_split(folder: Path, split: str, known: dict[str, dict[str, str]]) -> list[Reference]:
    if any((folder / name).is_dir() for name in SPLITS):
        paths = picture_files(folder / split) if (folder / split).is_dir() else []
    else:
        every = [_reference(path, folder, known) for path in picture_files(folder)]
        return [reference for reference in every if _split_by_name(reference.source) == split]
    return [_reference(path, folder, known) for path in paths]


def _reference(path: Path, folder: Path, known: dict[str, dict[str, str]]) -> Reference:
    name = path.relative_to(folder).as_posix()
    row = known.get(name, {})
    source = f"{row.get('package') or ''}:{row['path']}" if row.get("path") else path.stem
    return Reference(
        name, path, source, row.get("author") or UNKNOWN, row.get("licence") or UNKNOWN
    )


def _split_by_name(source: str) -> str:
    place = int.from_bytes(hashlib.sha256(source.encode()).digest()[:4], "big") / 2**32
    if place < _HELD_BACK:
        return "test"
    return "val" if place < 2 * _HELD_BACK else "train"


def load_split(references: Path, split: str, side: int) -> tuple[list[Reference], list[Picture]]:
    """The references of a split that hold crops of `side` pixels, and their pictures.

    Raises:
        DataError: As `list_references`, `load_references` and `large_enough`.
    """
    kept, pictures = load_references(list_references(references, split), references)
    return large_enough(kept, pictures, side, references)
