"""The station's journal: which changes were made to it, when and from where.

One JSON object a line in the state folder, appended and synced, never rewritten. At `MOST_BYTES`
the file becomes the older one, in place of the one before: two files at most. A line that a power
cut tore is passed over by readers and ended by the next writer.
"""

from __future__ import annotations

import json
import os
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FILE, OLDER = "journal.jsonl", "journal.1.jsonl"

MOST_BYTES = 1_000_000
"""A file that is larger before an entry is put aside."""


class Journal:
    """The journal in a folder. Thread-safe; opens its files only while it uses them.

    Args:
        folder: the state folder; made by whoever owns it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path, self._older = folder / FILE, folder / OLDER
        self._lock = threading.Lock()

    def write(self, entry: Mapping[str, Any]) -> None:
        """Append an entry; it is on disk when this returns. Raises OSError."""
        line = json.dumps(entry, ensure_ascii=False).encode() + b"\n"
        with self._lock:
            self._make_room()
            new = not self._path.exists()
            with self._path.open("a+b") as file:
                size = file.seek(0, os.SEEK_END)
                if size:
                    file.seek(size - 1)
                    if file.read(1) != b"\n":
                        line = b"\n" + line
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
            if new:
                self._sync_folder()

    def newest(self, most: int) -> list[dict[str, Any]]:
        """The newest entries, newest first. Raises OSError where they cannot be read."""
        with self._lock:
            lines = [line for path in (self._older, self._path) for line in _lines(path)]
        found: list[dict[str, Any]] = []
        for line in reversed(lines):
            if len(found) == most:
                break
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict):
                found.append(entry)
        return found

    def _make_room(self) -> None:
        if self._path.exists() and self._path.stat().st_size > MOST_BYTES:
            self._path.replace(self._older)

    def _sync_folder(self) -> None:
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _lines(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().splitlines()
    except FileNotFoundError:
        return []
