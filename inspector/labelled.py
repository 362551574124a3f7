"""Marked events as a labelled folder: OUT/LABEL/PICTURE, as `python -m train finetune` reads it.

The name of a picture says its frame: station, camera, stream epoch and sequence. A later run adds
what is new, and moves a picture whose mark has changed.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from inspector.errors import UserError
from inspector.marked import place_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from inspector.marks import Marked

LOSSY = "image/jpeg"
NO_PICTURE = "no picture was kept of it"
REMOVED = "its picture is not there any more"
CHANGED = "its picture is not the one that was judged (another SHA-256)"
UNNAMED = "it is marked wrong, and nobody said what it was"
CONTRADICTED = "another event of the same frame was marked differently, later"

_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", re.ASCII)
_SUFFIX = re.compile(r"\.(jpg|png|webp)", re.ASCII)


@dataclass(slots=True)
class Export:
    """What an export came to.

    Attributes:
        labels: of each label how many pictures its folder has of this station's marks.
        copied, moved: of them, those that are new, and those whose mark had changed.
        left_out: marked events without a picture in the folder, by reason.
        lossy: pictures that were kept as JPEG.
    """

    labels: Counter[str] = field(default_factory=Counter)
    copied: int = 0
    moved: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    lossy: int = 0

    def document(self) -> dict[str, Any]:
        """As JSON-able data."""
        return {
            "labels": dict(sorted(self.labels.items())),
            "copied": self.copied,
            "moved": self.moved,
            "left_out": dict(self.left_out),
            "lossy": self.lossy,
        }


def export(marked: Iterable[Marked], evidence: Path, kept: Path, out: Path) -> Export:
    """Lay the pictures of marked events out by what they are in truth.

    Args:
        marked: the oldest mark first; of one frame the last counts.
        evidence: the station's evidence folder.
        kept: where pictures of marked events lie that the evidence has given up.
        out: made if need be; pictures that are not of these marks are left alone.

    Raises:
        UserError: a picture cannot be written.
    """
    done = Export()
    frames: dict[str, Marked] = {}
    for each in marked:
        name = _name(each.event["data"])
        earlier = frames.pop(name, None)
        if earlier is not None and earlier.label != each.label:
            done.left_out[CONTRADICTED] += 1
        frames[name] = each
    try:
        there = {path.stem: path for path in out.glob("*/*") if _SUFFIX.fullmatch(path.suffix)}
        for name, each in frames.items():
            reason = _place(name, each, (evidence, kept), out, there.get(name), done)
            if reason is not None:
                done.left_out[reason] += 1
    except OSError as error:
        msg = f"{out} cannot be written: {error.strerror}: {error.filename}"
        raise UserError(msg) from error
    return done


def _place(
    name: str,
    marked: Marked,
    folders: tuple[Path, Path],
    out: Path,
    there: Path | None,
    done: Export,
) -> str | None:
    """Put one picture where it belongs; a reason where that cannot be done."""
    label, told = marked.label, marked.event["data"].get("evidence")
    if label is None or not _LABEL.fullmatch(label):
        return UNNAMED
    if there is None:
        if not told:
            return NO_PICTURE
        evidence, kept = folders
        source = evidence / told["uri"]
        if not source.exists():
            source = place_of(kept, marked.event)
        try:
            data = source.read_bytes()
        except FileNotFoundError:
            return REMOVED
        if hashlib.sha256(data).hexdigest() != told["sha256"]:
            return CHANGED
        _write(out / label / f"{name}{source.suffix}", data)
        done.copied += 1
    elif there.parent.name != label:
        (out / label).mkdir(parents=True, exist_ok=True)
        there.rename(out / label / there.name)
        done.moved += 1
    done.labels[label] += 1
    done.lossy += bool(told) and told["media_type"] == LOSSY
    return None


def _write(place: Path, data: bytes) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = place.with_name(f".{place.name}.part")
    partial.write_bytes(data)
    partial.rename(place)


def _name(data: Mapping[str, Any]) -> str:
    return f"{data['station']}-{data['camera']}-{data['stream_epoch']}-{data['sequence']}"
