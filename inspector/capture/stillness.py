"""Whether a camera shows the same picture over and over: frozen, though frames go on coming.

A live picture has noise, so that no two are alike to the last bit. An encoder may still repeat or
improve one where nothing moves, but makes each key frame from what the sensor gives then. So key
frames that stay the same, bit by bit, come from no sensor any more: the camera, or a recorder in
between, has got stuck. The pictures between them are left out of it: an encoder that is fed one and
the same picture improves it from frame to frame, up to the next key frame.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

LOOK_EVERY_S = 1.0
"""Key frames are looked at this often at most: some cameras send nothing else."""

KEY_FRAMES = 2
"""So many key frames in a row must be like the one before, or unlike it, to be believed."""

_compare = ctypes.CDLL(None).memcmp
_compare.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)


class Stillness:
    """Compares the key frames of one camera. Pure: the time comes in.

    Bit by bit, with a copy of the one before, and not by a digest: live pictures differ within
    their first rows, where the comparison ends, so that all it costs is one copy a second.

    It outlives the connection: a camera that was found frozen is suspect still when it is opened
    anew, and none of its frames is taken for good meanwhile. It is cleared as it was found: when
    no key frame has been like the one before for the same time. One change is not enough, since an
    encoder that starts anew makes several different pictures of the same one.

    Args:
        after_s: seconds after which an unchanged picture is frozen; 0: never.
    """

    def __init__(self, after_s: float) -> None:
        self.after_s = after_s
        self.suspect = False
        """The picture was found frozen, and nothing since has shown otherwise."""
        self._kept: NDArray[np.uint8] | None = None
        self._looked_s: float | None = None
        # Key frames of this connection, in a row, that all are like the one before, or none is.
        self._alike = False
        self._count = 0
        self._since_s = 0.0

    def reopened(self) -> None:
        """A new connection: its key frames count anew."""
        self._count = 0
        self._looked_s = None

    def wants(self, now_s: float, *, key: bool) -> bool:
        """Whether to look at the picture that arrived then."""
        due = self._looked_s is None or now_s - self._looked_s >= LOOK_EVERY_S
        return bool(self.after_s) and key and due

    def look(self, picture: NDArray[np.uint8], now_s: float) -> bool:
        """Whether the camera is frozen, now that this is its picture.

        Args:
            picture: contiguous pixels; they are compared, and copied if they differ.
            now_s: monotonic seconds of its arrival.
        """
        alike = self._kept is not None and _same(self._kept, picture)
        if not alike:
            self._keep(picture)
        if alike is not self._alike or not self._count:
            self._alike, self._count = alike, 0
            self._since_s = now_s if self._looked_s is None else self._looked_s
        self._looked_s = now_s
        self._count += 1
        if self._count < KEY_FRAMES:
            return False
        long = now_s - self._since_s >= self.after_s
        if alike:
            self.suspect = self.suspect or long
            return self.suspect
        self.suspect = self.suspect and not long
        return False

    def _keep(self, picture: NDArray[np.uint8]) -> None:
        if self._kept is None or self._kept.shape != picture.shape:
            self._kept = np.empty_like(picture)
        np.copyto(self._kept, picture)


def _same(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> bool:
    if one.shape != other.shape:
        return False
    return not _compare(one.ctypes.data, other.ctypes.data, one.nbytes)
