"""How much evidence lies in the folder, by camera and day, and what must go first. Pure.

Two figures a camera and day, whatever the number of pictures: what grows with time is bounded by
`keep_days`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inspector.evidence.naming import Name

Removal = Literal["age", "size", "free"]
"""Why a picture was removed: too old, `max_mb` reached, `min_free_mb` not left."""


@dataclass(slots=True)
class Held:
    """Pictures, and the bytes they take with the events beside them."""

    files: int = 0
    bytes: int = 0


class Holdings:
    """Tally of the folder. Not thread-safe."""

    def __init__(self) -> None:
        self._days: dict[str, dict[str, Held]] = {}
        self.total = Held()

    def add(self, name: Name, size: int, *, files: int = 1) -> None:
        """Count a picture in (or with `files=0` the event beside it)."""
        held = self._days.setdefault(name.camera, {}).setdefault(name.day, Held())
        for each in (held, self.total):
            each.files += files
            each.bytes += size

    def remove(self, name: Name, size: int) -> None:
        """Count a picture and the event beside it out."""
        held = self._days.get(name.camera, {}).get(name.day)
        if held is None:
            return
        for each in (held, self.total):
            each.files -= 1
            each.bytes = max(0, each.bytes - size)
        if held.files <= 0:
            self.forget(name.camera, name.day)

    def forget(self, camera: str, day: str) -> None:
        """Nothing is left of that day."""
        held = self._days.get(camera, {}).pop(day, None)
        if held is not None:
            self.total.files -= held.files
            self.total.bytes -= held.bytes
            if not self._days[camera]:
                del self._days[camera]

    def of(self, camera: str) -> Held:
        """What one camera has."""
        days = self._days.get(camera, {}).values()
        return Held(sum(held.files for held in days), sum(held.bytes for held in days))

    def cameras(self) -> list[str]:
        """Every camera that has some, also those no longer in the station file."""
        return list(self._days)

    def up_to(self, day: str) -> Iterator[tuple[str, str]]:
        """Cameras and days not after `day`."""
        for camera, days in list(self._days.items()):
            for each in sorted(days):
                if each <= day:
                    yield camera, each

    def first_to_go(self, latest: str) -> tuple[str, str] | None:
        """Camera and day whose oldest picture goes first, None without any.

        The camera that takes most gives. So no camera loses anything while it has less than its
        equal part of the space, however much the others keep. Its days after `latest`, which cannot
        be yet, are of a clock that was ahead: they go first, since they would never be the oldest.

        Args:
            latest: the last day that can be.
        """
        if not self._days:
            return None
        camera = max(self._days, key=lambda name: (self.of(name).bytes, name))
        days = self._days[camera]
        return camera, min([day for day in days if day > latest] or days)


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the folder."""

    keep_ms: int
    max_bytes: int
    min_free_bytes: int

    @classmethod
    def of(cls, *, keep_days: float, max_mb: int, min_free_mb: int) -> Limits:
        """The limits that a station file asks for."""
        return cls(int(keep_days * 86_400_000), max_mb * 1_000_000, min_free_mb * 1_000_000)

    def fits(self, size: int, held_bytes: int, free_bytes: int) -> bool:
        """Whether a picture of `size` bytes may be written."""
        return held_bytes + size <= self.max_bytes and free_bytes - size >= self.min_free_bytes

    def excess(self, held_bytes: int, free_bytes: int, room: int) -> tuple[Removal, int] | None:
        """What must go so that the next pictures fit: why, and how many bytes.

        Args:
            room: bytes that the next pictures may take.

        >>> limits = Limits(0, max_bytes=1000, min_free_bytes=500)
        >>> limits.excess(950, 10_000, room=100)
        ('size', 50)
        >>> limits.excess(100, 450, room=100)
        ('free', 150)
        >>> limits.excess(100, 600, room=100)
        """
        room = min(room, self.max_bytes // 2)
        over = held_bytes + room - self.max_bytes
        short = self.min_free_bytes + room - free_bytes
        if over > 0 and over >= short:
            return "size", over
        return ("free", short) if short > 0 else None
