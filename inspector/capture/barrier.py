"""A light barrier in the picture: tells when the front of a part reaches it.

A narrow strip across the belt is watched, in every picture. It is cut into cells along its length;
a cell is covered while its light differs from that of the empty belt, and a part is there while
enough cells are. How the empty belt looks is learned, and learned on as the light of the hall
changes, from the last half minute with a moving belt: the middle of all (`either`), or, where parts
are `lighter`, the middle of that darkest share for which the barrier is free at least; where they
are `darker`, of that lightest share. While nothing moves nothing is learned, so that a part before
the barrier of a belt that stands is not taken for the belt.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from numpy.typing import NDArray

CELLS = 32
"""Most cells of a strip."""
SAMPLE_S = 0.1
"""Between two looks from which the empty belt is learned."""
WINDOW = 300
"""So many of them count: half a minute."""
FIRST = 20
"""After so many the barrier begins to work: two seconds."""
LEARN_EVERY = 10
"""The empty belt is reckoned anew after so many."""
MOVING_S = 5.0
"""The belt counts as moving for so long after something has changed."""
MOST_STEP_S = 5.0
"""A longer pause between two pictures, or a step back in time, is a stream that begins anew."""
DUE_SLACK_S = 0.002
"""A picture that comes this much before its time is due: clocks are read with jitter."""
MOST_DUE = 32
"""Parts that may be on their way from the barrier to where their picture is due."""

FULL_SCALE = 255.0

Parts = Literal["lighter", "darker", "either"]


class Barrier:
    """The barrier of one camera. Pure: the time comes in. Not thread-safe.

    Args:
        settings: `inspect.on_motion` of the camera, as JSON values.

    Attributes:
        parts: fronts seen so far.
        covered: share of the cells that are covered now; None until the empty belt is known.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.x, self.y = int(settings["x"]), int(settings["y"])
        self.width, self.height = int(settings["width"]), int(settings["height"])
        self._kind: Parts = settings["parts"]
        share = float(settings["free"]) / 2
        self._quantile = {"lighter": share, "darker": 1 - share, "either": 0.5}[self._kind]
        self._contrast = float(settings["contrast"]) * FULL_SCALE
        self._enough = float(settings["covered"])
        self._gap_s = float(settings["gap_ms"]) / 1e3
        self._delay_s = float(settings["delay_ms"]) / 1e3
        self.parts = 0
        self.covered: float | None = None
        self._empty: NDArray[np.float64] | None = None
        self._samples: deque[NDArray[np.float64]] = deque(maxlen=WINDOW)
        self._seen = 0
        self._sample_due_s = 0.0
        self._still: NDArray[np.float64] | None = None  # as it was when something last changed
        self._moved_s = 0.0
        self._part_there = False
        self._free_since_s: float | None = None
        self._last_s: float | None = None
        self._due_s: deque[float] = deque(maxlen=MOST_DUE)

    def look(self, strip: NDArray[np.uint8], at_s: float) -> None:
        """A picture came.

        Args:
            strip: (height, width, 3) uint8 BGR, the barrier's part of it.
            at_s: its time; of the stream, or of its arrival, but always of the same clock.
        """
        if self._last_s is None or not 0 <= at_s - self._last_s <= MOST_STEP_S:
            self._begin(at_s)
        self._last_s = at_s
        cells = cells_of(strip)
        self._learn(cells, at_s)
        if self._empty is None:
            return
        change = cells - self._empty
        if self._kind == "darker":
            change = -change
        elif self._kind == "either":
            change = np.abs(change)
        self.covered = float(np.mean(change > self._contrast))
        self._decide(self.covered, at_s)

    def due(self, at_s: float) -> bool:
        """Whether the picture of that time is to be judged: a part is where it is wanted."""
        return bool(self._due_s) and self._due_s[0] <= at_s + DUE_SLACK_S

    def take(self, at_s: float) -> None:
        """The picture of that time is judged; it answers for every part that was due."""
        while self.due(at_s):
            self._due_s.popleft()

    @property
    def passed(self) -> int:
        """Parts that are no longer to be judged: their picture was taken, or there is none."""
        return self.parts - len(self._due_s)

    def _begin(self, at_s: float) -> None:
        """A stream begins, or begins anew; how the empty belt looks is still known."""
        self._due_s.clear()
        self._free_since_s = None
        self._still = None
        self._sample_due_s = self._moved_s = at_s

    def _learn(self, cells: NDArray[np.float64], at_s: float) -> None:
        if self._still is None or float(np.abs(cells - self._still).max()) > self._contrast / 2:
            self._still, self._moved_s = cells, at_s
        if at_s < self._sample_due_s or at_s - self._moved_s > MOVING_S:
            return
        self._sample_due_s = at_s + SAMPLE_S
        self._samples.append(cells)
        self._seen += 1
        if self._seen >= FIRST and self._seen % LEARN_EVERY == 0:
            self._empty = np.quantile(self._samples, self._quantile, axis=0)

    def _decide(self, covered: float, at_s: float) -> None:
        if covered >= self._enough:
            self._free_since_s = None
            if not self._part_there:
                self._part_there = True
                self.parts += 1
                self._due_s.append(at_s + self._delay_s)
        elif self._part_there and covered < self._enough / 2:
            # Holes and dark places of one part do not make two of it.
            if self._free_since_s is None:
                self._free_since_s = at_s
            if at_s - self._free_since_s >= self._gap_s:
                self._part_there = False
        else:
            self._free_since_s = None


def cells_of(strip: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Mean light of each cell, 0 to 255; cells lie along the longer side.

    Args:
        strip: (height, width, 3) uint8 BGR. Green stands for light: every sensor has most of it.

    >>> cells_of(np.full((40, 4, 3), 7, np.uint8)).shape
    (32,)
    """
    green = strip[:, :, 1]
    if green.shape[1] > green.shape[0]:
        green = green.T
    length, across = green.shape
    count = min(CELLS, length)
    starts = np.arange(count) * length // count
    sums = np.add.reduceat(green.sum(axis=1, dtype=np.int64), starts)
    cells: NDArray[np.float64] = sums / (np.diff(starts, append=length) * across)
    return cells
