"""The rings that a runtime has been shown, and the tiles it reads out of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inspector.engine.tiling import cut

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from inspector.engine.runtime import TileRef
    from inspector.slots import Ring


class MappedRings:
    """Rings by their keys. Any thread.

    Args:
        owner: who reads, for messages.
        max_batch: most tiles at once.
    """

    def __init__(self, owner: str, max_batch: int) -> None:
        self._owner = owner
        self._max_batch = max_batch
        self._rings: dict[str, Ring] = {}

    def add(self, ring: Ring) -> None:
        """Make a ring's slots readable."""
        self._rings[ring.key] = ring

    def remove(self, key: str) -> None:
        """Forget a ring; unknown keys are ignored."""
        self._rings.pop(key, None)

    def clear(self) -> None:
        """Forget them all."""
        self._rings.clear()

    def check_count(self, tiles: Sequence[TileRef]) -> None:
        """Raise ValueError unless there are 1 to `max_batch` tiles."""
        if not 1 <= len(tiles) <= self._max_batch:
            msg = f"{self._owner} takes 1 to {self._max_batch} tiles, came {len(tiles)}"
            raise ValueError(msg)

    def check_rings(self, tiles: Sequence[TileRef]) -> None:
        """Raise ValueError where a tile's ring was not mapped."""
        if unknown := {ref.ring for ref in tiles} - self._rings.keys():
            msg = f"{self._owner}: ring {', '.join(sorted(unknown))} was not mapped"
            raise ValueError(msg)

    def cut(self, tiles: Sequence[TileRef], buffer: NDArray[np.uint8]) -> None:
        """Copy tiles out of their slots to the beginning of `buffer`, in order.

        Args:
            buffer: (at least as many, size, size, 3) uint8.

        Raises:
            ValueError: a tile does not lie in its picture, or its ring was unmapped.
        """
        start = 0
        for end in range(1, len(tiles) + 1):
            first = tiles[start]
            if end < len(tiles) and _place(tiles[end]) == _place(first):
                continue
            ring = self._rings.get(first.ring)
            if ring is None:
                msg = f"{self._owner}: ring {first.ring} was unmapped"
                raise ValueError(msg)
            picture = ring.picture(first.slot, first.height, first.width)
            cut(picture, [ref.tile for ref in tiles[start:end]], buffer[start:end])
            start = end


def _place(ref: TileRef) -> tuple[str, int, int, int]:
    return ref.ring, ref.slot, ref.height, ref.width
