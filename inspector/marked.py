"""The pictures of marked events, kept beyond the evidence: in the state folder, under a bound.

A picture is linked where the file system can, so that it takes no room while the evidence still has
it, and copied otherwise. Whoever marks does so to train on it later, perhaps after weeks.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from inspector.evidence.naming import ID_PATTERN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from inspector.config.evidence import Evidence

FOLDER = "marked"

_log = structlog.get_logger("inspector.marks")


class MarkedPictures:
    """The folder. Any thread; methods wait for the disk, and never raise: a mark holds without.

    Args:
        state: the state folder.
        evidence: how evidence is kept; None where none is.
    """

    def __init__(self, state: Path, evidence: Evidence | None) -> None:
        self._folder = state / FOLDER
        self._evidence = state / evidence.folder if evidence is not None else None
        self._most_bytes = evidence.marked_mb * 1_000_000 if evidence is not None else 0

    def keep(self, event: Mapping[str, Any]) -> None:
        """Keep an event's picture, if it has one that is still there."""
        told = event["data"].get("evidence")
        if self._evidence is None or not self._most_bytes or not told:
            return
        source, place = self._evidence / told["uri"], place_of(self._folder, event)
        try:
            self._folder.mkdir(exist_ok=True, mode=0o750)
            _link(source, place)
            self._make_room()
        except FileNotFoundError:
            return  # the evidence has given it up already
        except OSError as error:
            _log.warning("the picture of a marked event is not kept", fault=str(error))

    def forget(self, event_id: str) -> None:
        """The mark was taken back."""
        if re.fullmatch(ID_PATTERN, event_id) is None:
            return  # no id, perhaps a pattern: it names no picture
        try:
            for path in self._folder.glob(f"{event_id}.*"):
                path.unlink(missing_ok=True)
        except OSError as error:
            _log.warning("the picture of a mark that was taken back stays", fault=str(error))

    def _make_room(self) -> None:
        # A name begins with its event's time.
        held = [(path, path.stat().st_size) for path in sorted(self._folder.iterdir())]
        total = sum(size for _, size in held)
        for path, size in held:
            if total <= self._most_bytes:
                return
            path.unlink(missing_ok=True)
            total -= size


def place_of(folder: Path, event: Mapping[str, Any]) -> Path:
    """Where the picture of a marked event lies, if it was kept.

    Args:
        folder: `FOLDER` in the state folder.
        event: its CloudEvents document, with evidence.
    """
    return folder / f"{event['id']}{Path(event['data']['evidence']['uri']).suffix}"


def _link(source: Path, place: Path) -> None:
    if place.exists():
        return
    try:
        os.link(source, place)
    except FileNotFoundError:
        raise
    except OSError:  # another file system, or one without links
        part = place.with_name(f".{place.name}.part")
        try:
            shutil.copyfile(source, part)
            part.replace(place)
        finally:
            part.unlink(missing_ok=True)
