"""What every picture source has in common: arrivals, pictures, and why a source ends.

A source runs in its camera's worker process. It counts a frame at arrival, before it is decoded,
and yields a `Picture` for it that can write itself into a slot; the worker writes only those that
are to be judged.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from inspector.errors import CaptureError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from numpy.typing import NDArray

Settings = dict[str, Any]
"""One camera's branch of the station file, as JSON values."""


class SourceError(CaptureError):
    """A source could not be opened, or ended against its will.

    Attributes:
        cause: `refused timeout authentication tls not_found codec stalled frozen ended`.
    """

    def __init__(self, cause: str, detail: str) -> None:
        super().__init__(detail)
        self.cause = cause


class DamagedPicture(CaptureError):  # noqa: N818 - a fact of the picture
    """A picture that cannot be given whole.

    Attributes:
        cause: `decode` or `too_large`.
    """

    def __init__(self, detail: str, cause: str = "decode") -> None:
        super().__init__(detail)
        self.cause = cause


@dataclass(frozen=True, slots=True)
class Arrival:
    """The moment a frame reached the station.

    Attributes:
        sequence: number within the connection, from 0.
        arrived_ns, arrived_utc_ns: the same instant, monotonic and UTC.
        pts_s: the source's own time stamp.
        read_s: how long the read took that it came out of.
    """

    sequence: int
    arrived_ns: int
    arrived_utc_ns: int
    pts_s: float | None = None
    read_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Picture:
    """A frame that can be written into a slot, or says why it cannot.

    Attributes:
        height, width: of the whole picture; 0 if damaged.
        write: `write(out, y, x)` puts the part at (y, x) into `out` (rows, columns, 3; uint8 BGR);
            raises DamagedPicture. None if damaged.
        damage: why there is no picture.
        origin: file name, for pictures from files.
        key: the codec built it upon no other picture; so is every picture that no codec made.
    """

    arrival: Arrival
    height: int = 0
    width: int = 0
    write: Callable[[NDArray[np.uint8], int, int], None] | None = None
    damage: str | None = None
    origin: str | None = None
    key: bool = True


class Intake(Protocol):
    """What a source needs of its worker."""

    def arrive(self, pts_s: float | None = None, read_s: float = 0.0) -> Arrival:
        """Count a frame as arrived now."""

    def lose(self, frames: int) -> None:
        """Arrived frames of which no picture comes any more."""

    def pause(self, seconds: float) -> None:
        """Wait; stays answerable to the supervisor. Ends the worker's run if asked to stop."""


class Numbering:
    """Intake of files that are read outside a worker: frames get their numbers, and no pause."""

    def __init__(self) -> None:
        self._next = 0

    def arrive(self, pts_s: float | None = None, read_s: float = 0.0) -> Arrival:
        """Count a frame."""
        self._next += 1
        return Arrival(self._next - 1, time.monotonic_ns(), time.time_ns(), pts_s, read_s)

    def lose(self, frames: int) -> None:
        """Nothing is kept of lost frames: those of a file are given as damaged before."""

    def pause(self, seconds: float) -> None:
        """Files are read as fast as their pictures are taken."""


class Source(Protocol):
    """One kind of picture source: opened and closed for each connection, it outlives them.

    Attributes:
        live: newer pictures make older ones worthless; otherwise they wait for one another.
        one_size: a picture of another size means another stream, and begins a new epoch.
        fps: pictures a second as the source states them, None if it does not.
    """

    live: bool
    one_size: bool
    fps: float | None

    def open(self) -> None:
        """Open the source within its deadline. Raises SourceError."""

    def pictures(self, intake: Intake) -> Iterator[Picture]:
        """The pictures as they come, until the source ends. Raises SourceError."""

    def close(self) -> None:
        """Let the source go. Idempotent, also after a failed `open`."""
