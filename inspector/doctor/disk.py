"""Disks: which one a folder lies on, what it can hold, and whether it is there at all."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_FIELDS = 4
"""Of a line of /etc/fstab: what, where, kind, options."""
_ESCAPE = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Disk:
    """A mounted file system.

    Attributes:
        at: where it is mounted.
        kind, source: such as `ext4` and `/dev/sda2`.
    """

    at: Path
    kind: str
    source: str

    def __str__(self) -> str:
        return f"{self.source} ({self.kind}) on {self.at}"


def existing(folder: Path) -> Path:
    """The folder, or the nearest above it that is there. What may not be looked into is not."""
    # os.path says no there; pathlib raises.
    return next(p for p in (folder, *folder.parents) if os.path.exists(p))  # noqa: PTH110


def disk_of(folder: Path) -> Disk | None:
    """The disk that a folder lies on, as the kernel tells; None where it does not."""
    try:
        table = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return disk_in(table, existing(folder).resolve())


def disk_in(mountinfo: str, folder: Path) -> Disk | None:
    """Of the mounts that /proc/self/mountinfo lists the one that a folder lies on. Pure.

    >>> disk_in("36 35 8:2 / /srv rw - ext4 /dev/sda2 rw", Path("/srv/evidence"))
    Disk(at=PosixPath('/srv'), kind='ext4', source='/dev/sda2')
    """
    found = None
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        at, (kind, source, *_) = Path(_plain(left.split()[4])), right.split()
        # Of two on one place the later one hides the first.
        deeper = found is None or len(at.parts) >= len(found.at.parts)
        if deeper and folder.is_relative_to(at):
            found = Disk(at, kind, _plain(source))
    return found


def unmounted(folder: Path, fstab: Path = Path("/etc/fstab")) -> Path | None:
    """A disk that the box should have mounted above a folder, and has not; where it belongs.

    What is written there meanwhile lies beneath it, and on another disk.
    """
    try:
        table = fstab.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    places = (at for at in mount_points(table) if folder.is_relative_to(at))
    return next((at for at in places if not os.path.ismount(at)), None)


def mount_points(fstab: str) -> Iterator[Path]:
    r"""Where /etc/fstab wants something mounted. Pure.

    >>> list(mount_points("# disks\n/dev/sdb1 /srv/evi\\040dence ext4 defaults 0 2\n"))
    [PosixPath('/srv/evi dence')]
    """
    for line in fstab.splitlines():
        words = line.partition("#")[0].split()
        if len(words) >= _FIELDS and words[1].startswith("/") and "noauto" not in words[3]:
            yield Path(_plain(words[1]))


def _plain(text: str) -> str:
    """Spaces and the like are written as octal numbers in tables of mounts."""
    return _ESCAPE.sub(lambda found: chr(int(found[1], 8)), text)
