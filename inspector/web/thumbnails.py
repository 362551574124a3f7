"""Kept pictures made small for a list: one at a time, and the last ones remembered."""

from __future__ import annotations

import threading
from collections import OrderedDict

import cv2
import numpy as np

from inspector.web.stills import shrink, to_jpeg

WIDTH = 240
LARGE_BYTES = 200_000
MOST = 200
"""Remembered at most; one takes some 10 kB."""


class Thumbnails:
    """Small pictures by the digest of the large one. Any thread; one picture is made at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[str, bytes] = OrderedDict()

    def of(self, sha256: str, data: bytes) -> bytes | None:
        """The small picture, as JPEG, of the file with that digest; None if it is no picture."""
        with self._lock:
            known = self._known.get(sha256)
            if known is not None:
                self._known.move_to_end(sha256)
                return known
            small = _make(data)
            if small is not None:
                self._known[sha256] = small
                if len(self._known) > MOST:
                    self._known.popitem(last=False)
            return small


def _make(data: bytes) -> bytes | None:
    # A large JPEG comes out at a quarter of its size at once, which saves most of the work.
    how = cv2.IMREAD_REDUCED_COLOR_4 if len(data) > LARGE_BYTES else cv2.IMREAD_COLOR
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), how)
    return None if picture is None else to_jpeg(shrink(picture, WIDTH))
