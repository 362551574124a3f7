"""Whether a camera shows the same picture over and over: frozen, though frames go on coming.

A live picture has noise, so that no two are alike to the last bit. An encoder may still repeat one
for a while where nothing moves, but not over a key frame, which it makes from what the sensor gives
then. So a picture that stays the same, bit by bit, for long enough and over two key frames comes
from no sensor any more: the camera's own encoder, or a recorder in between, has got stuck.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

LOOK_EVERY_S = 1.0
"""A picture to compare with is kept this often at most, and a camera of which no frame is due is
looked at this often."""

KEY_FRAMES = 2
"""So many key frames must have come since the picture that is compared with."""

_compare = ctypes.CDLL(None).memcmp
_compare.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)


class Stillness:
    """Compares the pictures of one camera. Pure: the time comes in.

    Bit by bit, with a copy of one earlier picture, and not by a digest: two live pictures differ
    within their first rows, where the comparison ends, so that it costs nothing but the copy.

    It outlives the connection: what is opened anew and still shows the picture that was found
    frozen is frozen still, and none of its frames is taken for good meanwhile.

    Args:
        after_s: seconds after which an unchanged picture is frozen; 0: never.
    """

    def __init__(self, after_s: float) -> None:
        self.after_s = after_s
        self._kept: NDArray[np.uint8] | None = None
        self._unchanged = False  # no picture since the kept one differed from it
        self._kept_s = -LOOK_EVERY_S
        self._looked_s = -LOOK_EVERY_S
        self._keys = 0
        self.suspect = False
        """The picture was found frozen, and none since has shown otherwise."""

    def passed(self, *, key: bool) -> None:
        """A picture came; whether it is a key frame (each is, where the source has no others)."""
        self._keys += key

    def reopened(self) -> None:
        """A new connection: its key frames count anew."""
        self._keys = 0

    def wants(self, now_s: float) -> bool:
        """Whether a picture should be looked at though nobody else needs its pixels."""
        if not self.after_s:
            return False
        return self._keys > 0 and now_s - self._looked_s >= LOOK_EVERY_S

    def look(self, picture: NDArray[np.uint8], now_s: float) -> bool:
        """Whether the camera is frozen, now that it shows this picture.

        Args:
            picture: contiguous pixels; they are compared, and copied now and then.
            now_s: monotonic seconds of its arrival.
        """
        if not self.after_s:
            return False
        self._looked_s = now_s
        if self._kept is not None and self._unchanged and _same(self._kept, picture):
            long = self.suspect or now_s - self._kept_s >= self.after_s
            frozen = long and self._keys >= KEY_FRAMES
            self.suspect = self.suspect or frozen
            return frozen
        self.suspect = self._unchanged = False
        if self._keys > 0 and now_s - self._kept_s >= LOOK_EVERY_S:
            self._keep(picture, now_s)
        return False

    def _keep(self, picture: NDArray[np.uint8], now_s: float) -> None:
        if self._kept is None or self._kept.shape != picture.shape:
            self._kept = np.empty_like(picture)
        np.copyto(self._kept, picture)
        self._unchanged, self._kept_s, self._keys = True, now_s, 0


def _same(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> bool:
    if one.shape != other.shape:
        return False
    return not _compare(one.ctypes.data, other.ctypes.data, one.nbytes)
