"""Rings of picture slots in anonymous shared memory: how frames travel between processes.

A ring is one sparse memfd: `slots` equal areas, each large enough for the camera's largest picture.
The capture worker decodes into a slot, the engine and the evidence encoder read it where it lies.
The memory has no name in any file system, so nothing is left behind by a killed process, and pages
that were never written cost nothing. There is no lock in it: who may touch a slot is decided by the
slot numbers that travel over the worker's socket pair, and a slot has one writer (the worker, until
it says "ready") and then only readers (until the main process hands it back).
"""

from __future__ import annotations

import mmap
import os
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

PAGE_BYTES = mmap.PAGESIZE


class Ring:
    """`slots` picture areas of `slot_bytes` bytes each, mapped into this process.

    Args:
        fd: memfd that backs the ring. The ring owns it and closes it in `close`.
        slots: number of slots.
        slot_bytes: bytes a slot; a multiple of the page size.
        key: name unique in the station, `CAMERA/STREAM_EPOCH`; an engine process knows rings by it.

    Thread-safe for readers. `close` may be called while views are alive: the mapping then lives
    until the last view dies.
    """

    def __init__(self, fd: int, slots: int, slot_bytes: int, key: str) -> None:
        self.fd = fd
        self.slots = slots
        self.slot_bytes = slot_bytes
        self.key = key
        self._map = mmap.mmap(fd, slots * slot_bytes)
        self._bytes = np.frombuffer(self._map, dtype=np.uint8)

    @classmethod
    def create(cls, key: str, *, slots: int, max_pixels: int) -> Ring:
        """Make a ring for BGR pictures of at most `max_pixels` pixels (3 bytes a pixel).

        Raises:
            OSError: no descriptor or address space is left.
        """
        slot_bytes = -(-max_pixels * 3 // PAGE_BYTES) * PAGE_BYTES
        fd = os.memfd_create(f"inspector-{key}", os.MFD_CLOEXEC)
        try:
            os.ftruncate(fd, slots * slot_bytes)
            return cls(fd, slots, slot_bytes, key)
        except BaseException:
            os.close(fd)
            raise

    def picture(self, slot: int, height: int, width: int) -> NDArray[np.uint8]:
        """The picture area of `slot` as an (height, width, 3) uint8 BGR view; never a copy.

        Raises:
            ValueError: there is no such slot, or the picture does not fit into one.
        """
        size = height * width * 3
        if not 0 <= slot < self.slots:
            msg = f"ring {self.key} has slots 0 to {self.slots - 1}, asked for {slot}"
            raise ValueError(msg)
        if size > self.slot_bytes or min(height, width) < 1:
            msg = (
                f"ring {self.key}: a picture of {width}x{height} takes {size} bytes, "
                f"a slot has {self.slot_bytes}; raise the camera's max_megapixels"
            )
            raise ValueError(msg)
        start = slot * self.slot_bytes
        return self._bytes[start : start + size].reshape(height, width, 3)

    def close(self) -> None:
        """Give the descriptor back. Idempotent; existing views stay valid."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
