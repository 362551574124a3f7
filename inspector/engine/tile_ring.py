"""Loose tiles as a runtime wants them: in slots of a ring of their own.

Runtimes read tiles from rings only. Tiles that belong to no camera's slot (golden tiles, those of
a bench, copies that must outlive their frame) are stacked in a column, one picture of height
N·size, in a slot of such a ring.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from inspector.engine.runtime import TileRef
from inspector.engine.tiling import Tile
from inspector.slots import Ring

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_numbers = count()


class TileRing:
    """A ring of `slots` columns of up to `tiles` tiles of `size` pixels a side.

    Not thread-safe: the owner decides who writes which slot.
    """

    def __init__(self, purpose: str, *, slots: int, tiles: int, size: int) -> None:
        self.size = size
        self.ring = Ring.create(
            # A camera's ring is NAME/EPOCH, and no name begins with a plus.
            f"+{purpose}/{next(_numbers)}",
            slots=slots,
            max_pixels=tiles * size * size,
        )

    def column(self, slot: int, tiles: int) -> NDArray[np.uint8]:
        """The first `tiles` tiles of a slot as a writable (N, size, size, 3) uint8 BGR view."""
        picture = self.ring.picture(slot, tiles * self.size, self.size)
        return picture.reshape(tiles, self.size, self.size, 3)

    def refs(self, slot: int, tiles: int) -> tuple[TileRef, ...]:
        """References to the first `tiles` tiles of a slot, top down."""
        height = tiles * self.size
        return tuple(
            TileRef(self.ring.key, slot, height, self.size, Tile(0, y, self.size))
            for y in range(0, height, self.size)
        )

    def close(self) -> None:
        """Give the memory back once nothing views it."""
        self.ring.close()
