"""When the next batch is taken: as late as keeps the engine busy.

A frame that is taken while the engine still computes grows old waiting for it, and meanwhile a
newer one arrives. So the next batch is taken just before the engine is expected to be free. Too
early costs age, too late costs throughput: an answer ends the wait in any case, so that no more is
lost than the time to cut the tiles, and the expectation follows a faster engine sooner than a
slower one.
"""

from __future__ import annotations

from collections import deque

LEAD_S = 0.0015
"""So long before the engine is free the next batch is taken, to be cut and handed over."""
LEAD_SHARE = 0.02
"""The same as a part of a batch's time: slow engines are less even in seconds."""
_FASTER, _SLOWER = 0.5, 0.2
"""How far the expectation follows a batch that was faster, or slower."""


class Pace:
    """What is with the engine, and when it will be free. Pure; seconds. Not thread-safe."""

    def __init__(self) -> None:
        self._tile_s: float | None = None
        self._in_flight: deque[tuple[float, int]] = deque()  # (submitted, tiles)
        self._free_s = 0.0  # when the engine answered last

    def submitted(self, now_s: float, tiles: int) -> None:
        """A batch of so many tiles goes to the engine; none asks nothing of it."""
        if tiles:
            self._in_flight.append((now_s, tiles))

    def answered(self, now_s: float) -> None:
        """The oldest batch is answered, or has failed."""
        began_s, tiles = self._in_flight.popleft()
        took_s = (now_s - max(began_s, self._free_s)) / tiles
        self._free_s = now_s
        if self._tile_s is None:
            self._tile_s = took_s
        change_s = took_s - self._tile_s
        self._tile_s += change_s * (_FASTER if change_s < 0 else _SLOWER)

    def left_s(self, now_s: float) -> float:
        """How long to wait with the next batch; 0 where the engine is free, or nearly so."""
        if not self._in_flight or self._tile_s is None:
            return 0.0
        began_s, tiles = self._in_flight[0]
        took_s = self._tile_s * tiles
        lead_s = LEAD_S + LEAD_SHARE * took_s
        return max(0.0, max(began_s, self._free_s) + took_s - lead_s - now_s)
