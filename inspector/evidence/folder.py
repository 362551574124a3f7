"""The files of an evidence folder.

A file comes under a temporary name and is renamed, so that nobody reads half a picture. A picture
is durable before the event is written beside it: where both are there, both are whole, also after
a power cut.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from inspector.errors import EvidenceError
from inspector.evidence.naming import CAMERA_PATTERN, DAY_PATTERN, NOTE, Name, in_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

MARKER = "evidence.lock"
"""Says that this is the folder, and not the empty mount point of a disk that went away; its lock
says that no other station keeps its evidence here."""
PART = ".part"
BLOCK_BYTES = 4096
"""What a file takes is counted in blocks of this size."""

_DAY = re.compile(DAY_PATTERN, re.ASCII)
_CAMERA = re.compile(CAMERA_PATTERN, re.ASCII)


@dataclass(slots=True)
class Batch:
    """What lies in one camera's folder of one day: names to the bytes they take."""

    pictures: dict[Name, int] = field(default_factory=dict)
    notes: dict[Name, int] = field(default_factory=dict)
    parts: list[Path] = field(default_factory=list)

    def held(self) -> Iterator[tuple[Name, int]]:
        """Each picture, and the bytes that it takes with the event beside it."""
        for name, size in self.pictures.items():
            yield name, size + self.notes.get(name.note, 0)


class Folder:
    """Reads, writes and removes. Any thread; every method may wait for the disk.

    Methods raise OSError where the disk does not do what is asked.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock_fd = -1
        self._was_open = False

    def open(self) -> None:
        """Take hold of the folder; it is made the first time, and must come back afterwards.

        Raises:
            EvidenceError: another station holds it.
            OSError: it cannot be made, or is not there any more.
        """
        self.close()
        flags = os.O_RDONLY | os.O_CLOEXEC  # open for writing it would keep the disk from repair
        if not self._was_open:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o750)
            flags |= os.O_CREAT
        fd = os.open(self.path / MARKER, flags, 0o640)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            msg = (
                f"another station keeps its evidence in {self.path}; "
                "give this one a folder of its own under evidence.folder"
            )
            raise EvidenceError(msg) from None
        except OSError:
            os.close(fd)
            raise
        self._lock_fd, self._was_open = fd, True

    def probe(self) -> None:
        """Make sure that files can be made in it."""
        probe = self.path / f"probe{PART}"
        os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640))
        probe.unlink()

    def present(self) -> bool:
        """Whether the folder that was opened is still where it was."""
        if self._lock_fd < 0:
            return False
        try:
            there = (self.path / MARKER).stat()
        except OSError:
            return False
        mine = os.fstat(self._lock_fd)
        return (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)

    def writable(self) -> bool:
        """Whether the file system and our rights would let us write."""
        return os.access(self.path, os.W_OK | os.X_OK)

    def close(self) -> None:
        """Let go of it. Idempotent."""
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    def free_bytes(self) -> int:
        """Free space for an unprivileged user."""
        disk = os.statvfs(self.path)
        return disk.f_bavail * disk.f_frsize

    def write(self, name: Name, data: bytes) -> int:
        """Add a picture, readable from now on; `add_note` makes it durable.

        Returns:
            The bytes it takes.
        """
        try:
            self._put(name, data, durable=False)
        except FileNotFoundError:  # the day's folder was emptied and removed just now
            self._put(name, data, durable=False)
        return taken(len(data))

    def add_note(self, name: Name, document: Mapping[str, Any]) -> int:
        """Make a picture durable, and put its event beside it as one line of JSON.

        Returns:
            The bytes the event takes.

        Raises:
            FileNotFoundError: the picture has been removed meanwhile.
        """
        fd = os.open(self.place(name), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            os.fdatasync(fd)
        finally:
            os.close(fd)
        line = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        self._put(name.note, line, durable=True)
        return taken(len(line))

    def read(self, name: Name) -> bytes:
        """The bytes of a file."""
        fd = os.open(self.place(name), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        with os.fdopen(fd, "rb") as file:
            return file.read()

    def remove(self, name: Name) -> int:
        """Remove a picture, then the event beside it, then folders that are empty.

        Returns:
            The bytes that they took; 0 where they were not there.
        """
        freed = 0
        for each in (name, name.note):
            path = self.place(each)
            try:
                size = path.stat().st_size
                path.unlink()
            except FileNotFoundError:
                continue
            freed += taken(size)
        with contextlib.suppress(OSError):
            self.place(name).parent.rmdir()
            self.place(name).parent.parent.rmdir()
        return freed

    def names(self, camera: str, day: str) -> list[Name]:
        """The pictures of a camera's day, oldest first."""
        try:
            with os.scandir(self.path / day / camera) as entries:
                found = [in_folder(camera, entry.name) for entry in entries]
        except FileNotFoundError:
            return []
        names = [name for name in found if name is not None and name.suffix != NOTE]
        return sorted(names, key=lambda name: name.event_id)

    def batches(self) -> Iterator[Batch]:
        """Everything that is ours, camera by camera, day by day. What is not ours is left alone."""
        for day in _folders(self.path, _DAY):
            for camera in _folders(self.path / day, _CAMERA):
                yield self._batch(self.path / day / camera, day, camera)

    def place(self, name: Name) -> Path:
        """Where a file lies."""
        return self.path / name.day / name.camera / name.file

    def _batch(self, folder: Path, day: str, camera: str) -> Batch:
        batch = Batch()
        with os.scandir(folder) as entries:
            for entry in entries:
                of_ours = in_folder(camera, entry.name.removeprefix(".").removesuffix(PART))
                if of_ours is None or not _belongs(of_ours, day):
                    continue
                if entry.name != of_ours.file:
                    batch.parts.append(folder / entry.name)
                    continue
                try:
                    size = taken(entry.stat(follow_symlinks=False).st_size)
                except FileNotFoundError:
                    continue
                (batch.notes if of_ours.suffix == NOTE else batch.pictures)[of_ours] = size
        return batch

    def _put(self, name: Name, data: bytes, *, durable: bool) -> None:
        place = self.place(name)
        # The evidence folder itself is not made: it may be a disk that went away.
        place.parent.parent.mkdir(exist_ok=True, mode=0o750)
        place.parent.mkdir(exist_ok=True, mode=0o750)
        part = place.with_name(f".{name.file}{PART}")
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
        try:
            with os.fdopen(fd, "wb", buffering=0) as file:
                rest = memoryview(data)
                while rest:
                    rest = rest[file.write(rest) :]
                if durable:
                    os.fdatasync(fd)
            part.rename(place)
        except BaseException:
            part.unlink(missing_ok=True)
            raise


def taken(size: int) -> int:
    """The bytes that a file of `size` takes on the disk.

    >>> taken(1), taken(4096), taken(4097)
    (4096, 4096, 8192)
    """
    return -(-size // BLOCK_BYTES) * BLOCK_BYTES


def _folders(path: Path, pattern: re.Pattern[str]) -> list[str]:
    try:
        with os.scandir(path) as entries:
            return sorted(
                entry.name
                for entry in entries
                if pattern.fullmatch(entry.name)
                and stat.S_ISDIR(entry.stat(follow_symlinks=False).st_mode)
            )
    except FileNotFoundError:
        return []


def _belongs(name: Name, day: str) -> bool:
    try:
        return name.day == day
    except (ValueError, OverflowError):
        return False
