"""What runs an engine: the one protocol that every runtime follows.

Tiles travel as references into rings, never as arrays, so that a runtime may live in a process of
its own: there it maps the same rings and reads the same slots.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future

    import numpy as np
    from numpy.typing import NDArray

    from inspector.engine.tiling import Tile
    from inspector.slots import Ring
    from inspector.verdict import EngineInfo


@dataclass(frozen=True, slots=True)
class TileRef:
    """One tile of a picture that lies in a slot of a ring; small enough to send to a process.

    Attributes:
        ring: `Ring.key` of a ring that was handed to `Runtime.map_ring`.
        height, width: pixels of the picture in the slot.
    """

    ring: str
    slot: int
    height: int
    width: int
    tile: Tile


class Runtime(Protocol):
    """A warm engine. All methods may be called from any thread."""

    @property
    def info(self) -> EngineInfo:
        """Which engine, runtime and precision serve now."""

    @property
    def max_batch(self) -> int:
        """Most tiles that one `submit` takes."""

    def map_ring(self, ring: Ring) -> None:
        """Make a ring's slots readable by this runtime."""

    def unmap_ring(self, key: str) -> None:
        """Forget a ring; its batches in flight end first or fail. Unknown keys are ignored."""

    def submit(self, tiles: Sequence[TileRef]) -> Future[NDArray[np.float32]]:
        """Judge tiles; the slots must not be handed back before the future is done.

        May block until an input buffer is free; at least two batches fit in at once.

        Returns:
            Future of an (N, C) float32 array of probabilities in the order of `tiles` and of the
            manifest's classes, owned by the caller. It fails with `EngineError`.

        Raises:
            ValueError: more than `max_batch` tiles, none, or a ring that was not mapped.
        """

    def close(self) -> None:
        """Finish what is in flight and give all resources back. Idempotent."""
