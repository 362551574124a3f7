"""Where each frame of a camera is: frames in = judged + dropped by cause + in flight, always."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inspector.capture.counters import ARRIVED, PARTS
from inspector.capture.status import DROP_CAUSES, Counters

if TYPE_CHECKING:
    from inspector.capture.counters import CounterPage


class Audit:
    """The books of one camera, over all its workers.

    Frames in the worker are known from its page; those received from it are held here until they
    are released. Not thread-safe: its owner's lock guards it.
    """

    def __init__(self) -> None:
        self._page: CounterPage | None = None
        self._received = 0  # from the worker of the current page
        self._closed_in = 0  # frames in of earlier workers
        self._closed_parts = 0
        self._judged = 0
        self._dropped = dict.fromkeys(DROP_CAUSES, 0)
        self.held = 0

    def open(self, page: CounterPage) -> None:
        """A new worker counts on that page from now on."""
        self._page = page
        self._received = 0

    def received(self) -> None:
        """The worker sent a frame."""
        self._received += 1
        self.held += 1

    def released(self, result: str) -> None:
        """A frame that was held is judged or dropped."""
        self.held -= 1
        if result == "judged":
            self._judged += 1
        else:
            self._dropped[result] += 1

    def close(self, lost_as: str) -> int:
        """The worker is gone, and all it sent was received. What it still had is lost.

        Args:
            lost_as: cause under which the lost frames are counted.

        Returns:
            Number of frames lost.
        """
        if self._page is None:
            return 0
        drops = self._page.drops()
        arrived = self._page.read(ARRIVED)
        lost = arrived - self._received - sum(drops.values())
        for cause, count in drops.items():
            self._dropped[cause] += count
        self._dropped[lost_as] += lost
        self._closed_in += arrived
        self._closed_parts += self._page.read(PARTS)
        self._received = 0
        self._page = None
        return lost

    def counters(self) -> Counters:
        """A snapshot. Of the page, drops are read before arrivals, so that none is missing."""
        dropped = dict(self._dropped)
        frames_in, in_worker, parts = self._closed_in, 0, self._closed_parts
        if self._page is not None:
            drops = self._page.drops()
            arrived = self._page.read(ARRIVED)
            for cause, count in drops.items():
                dropped[cause] += count
            frames_in += arrived
            parts += self._page.read(PARTS)
            in_worker = arrived - self._received - sum(drops.values())
        return Counters(frames_in, self._judged, dropped, self.held + in_worker, parts)
