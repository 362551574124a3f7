"""The last picture of each camera, small, for whoever looks.

A picture is made of a judged frame while it still lies in its slot, at most once a second a camera
and only while somebody looks. The judge's thread hands the frame over and goes on; a thread of our
own makes it small, and then the slot is free again. It borrows one frame at a time, of all cameras
together, and none of a ring that has few slots, so that no camera ever waits for a viewer.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import structlog
from fastapi.responses import JSONResponse, Response

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from fastapi import FastAPI
    from numpy.typing import NDArray

    from inspector.frame import Frame
    from inspector.verdict import Verdict

EVERY_S = 1.0
"""At most one picture of a camera in this time."""
WANTED_S = 5.0
"""Whoever asked for a picture counts as looking for so long."""
KEPT = 3
"""Pictures of a camera: a viewer whose link is slow gets the one that he was told of."""
LEAST_SLOTS = 3
"""A ring with fewer has none to spare."""
CLOSE_S = 0.5
"""The stop of the station waits no longer for our thread."""
WIDTH = 640
"""Of a small picture; smaller ones stay as they are."""
QUALITY = 80

_log = structlog.get_logger("inspector.web")


@dataclass(frozen=True, slots=True)
class Still:
    """A small picture.

    Attributes:
        name: which frame it is of, `EPOCH-SEQUENCE`.
        verdict, label: what was said of that frame; others may have come since.
        data: JPEG.
    """

    name: str
    verdict: str
    label: str | None
    data: bytes

    def document(self) -> dict[str, str | None]:
        """All but the picture, as JSON-able data."""
        return {"of": self.name, "verdict": self.verdict, "label": self.label}


class Stills:
    """The newest small pictures of each camera. Any thread may call any method.

    Args:
        looked_at: whether somebody looks at all cameras now; asked once a frame, must not wait.
        clock: monotonic seconds.
    """

    def __init__(
        self, looked_at: Callable[[], bool], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._looked_at = looked_at
        self._clock = clock
        self._changed = threading.Condition()
        self._known: set[str] = set()  # cameras that have judged frames: nobody else is waited for
        self._wanted_at: dict[str, float] = {}
        self._made_at: dict[str, float] = {}
        self._stills: dict[str, deque[Still]] = {}
        self._job: tuple[Frame, Verdict, Callable[[], None]] | None = None
        self._busy = False
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="stills", daemon=True)

    def start(self) -> None:
        """Begin to make pictures."""
        self._thread.start()

    def borrow(
        self, frame: Frame, verdict: Verdict, release: Callable[[], None]
    ) -> Callable[[], None]:
        """Look at a judged frame, where a picture of its camera is due. Never waits.

        Args:
            release: hands the frame back.

        Returns:
            What is to be called in place of `release`: the frame goes back when both, the caller
            and we, are done with it.
        """
        now = self._clock()
        ring = frame.ring
        self._known.add(frame.camera)
        if ring is None or ring.slots < LEAST_SLOTS or not self._wanted(frame.camera, now):
            return release
        with self._changed:
            if self._busy or self._closing or not self._thread.is_alive():
                return release
            if now - self._made_at.get(frame.camera, -EVERY_S) < EVERY_S:
                return release
            self._made_at[frame.camera] = now
            shared = _Shared(release)
            self._job, self._busy = (frame, verdict, shared.done), True
            self._changed.notify()
        return shared.done

    def newest(self, camera: str, of: str | None = None) -> Still | None:
        """The newest picture of a camera, if there is one; whoever asks counts as looking.

        Args:
            camera: its name.
            of: the frame that it must be of; those of the last few are kept.
        """
        with self._changed:
            if camera in self._known:
                self._wanted_at[camera] = self._clock()
            kept = reversed(self._stills.get(camera, ()))
            return next((still for still in kept if of in {None, still.name}), None)

    def document(self) -> dict[str, dict[str, str | None]]:
        """Of each camera that has a picture what the newest is of, as JSON-able data."""
        with self._changed:
            return {camera: kept[-1].document() for camera, kept in self._stills.items()}

    def forget(self, camera: str) -> None:
        """A camera is gone."""
        with self._changed:
            self._known.discard(camera)
            for kept in (self._wanted_at, self._made_at, self._stills):
                kept.pop(camera, None)

    def close(self) -> None:
        """Hand back what is borrowed, and end. Idempotent."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join(CLOSE_S)

    def _wanted(self, camera: str, now: float) -> bool:
        return self._looked_at() or now - self._wanted_at.get(camera, -WANTED_S) < WANTED_S

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._job is not None or self._closing)
                job, self._job = self._job, None
            if job is None:
                return
            frame, verdict, done = job
            del job
            still = self._make(frame, verdict, done)
            with self._changed:
                if still is not None and frame.camera in self._made_at:
                    kept = self._stills.setdefault(frame.camera, deque(maxlen=KEPT))
                    kept.append(still)
                self._busy = False
            del frame, done  # a name that waits for the next job would keep the ring mapped

    def _make(self, frame: Frame, verdict: Verdict, done: Callable[[], None]) -> Still | None:
        try:
            try:
                small = shrink(frame.picture(), WIDTH)
            finally:
                done()
            data = to_jpeg(small)
        except Exception:  # noqa: BLE001 - a picture that fails is no reason to make none any more
            _log.warning("no small picture", camera=frame.camera, exc_info=True)
            return None
        name = f"{frame.stream_epoch}-{frame.sequence}"
        return Still(name, verdict.outcome.value, verdict.label, data)


class _Shared:
    """A frame that two look at: the second who is done hands it back."""

    def __init__(self, release: Callable[[], None]) -> None:
        self._release = release
        self._lock = threading.Lock()
        self._left = 2

    def done(self) -> None:
        """One of the two is done."""
        with self._lock:
            self._left -= 1
            last = self._left == 0
        if last:
            self._release()


def shrink(picture: NDArray[np.uint8], width: int) -> NDArray[np.uint8]:
    """A copy of a (height, width, 3) picture that is at most `width` pixels wide.

    >>> import numpy as np
    >>> shrink(np.zeros((90, 1280, 3), np.uint8), 640).shape
    (45, 640, 3)
    """
    height, full = picture.shape[:2]
    if full <= width:
        return picture.copy()
    size = (width, max(1, round(height * width / full)))
    small: NDArray[np.uint8] = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return small


def to_jpeg(picture: NDArray[np.uint8]) -> bytes:
    """The bytes of a JPEG file."""
    data: bytes = cv2.imencode(".jpg", picture, (cv2.IMWRITE_JPEG_QUALITY, QUALITY))[1].tobytes()
    return data


def add_stills(app: FastAPI, stills: Stills) -> None:
    """Serve `/api/cameras/NAME/frame`."""

    # A coroutine: the picture is there already, and no thread is needed to hand it out.
    @app.get(
        "/api/cameras/{name}/frame",
        summary="The last picture of a camera, small; made while somebody asks for it",
        response_class=Response,
    )
    async def frame(name: str, of: str | None = None) -> Response:
        still = stills.newest(name, of)
        if still is None:
            detail = (
                f"no picture of {name} yet: one is made of the next frame that is judged, if the "
                "station has such a camera; ask again"
                if of is None
                else f"no picture of frame {of} of {name} is kept; without `of` comes the newest"
            )
            return JSONResponse({"detail": detail}, 404)
        return Response(still.data, media_type="image/jpeg", headers={"ETag": f'"{still.name}"'})
