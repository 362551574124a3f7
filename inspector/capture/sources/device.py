"""Cameras at this box (V4L2), by OpenCV."""

from __future__ import annotations

import math
import os
import stat
import time
from typing import TYPE_CHECKING, Protocol

from inspector.capture.sources.base import DamagedPicture, Picture, SourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from inspector.capture.sources.base import Intake, Settings


class Grabber(Protocol):
    """What is used of cv2.VideoCapture."""

    def isOpened(self) -> bool: ...  # noqa: D102, N802 - OpenCV's names
    def set(self, key: int, value: float) -> bool: ...  # noqa: D102
    def get(self, key: int) -> float: ...  # noqa: D102
    def grab(self) -> bool: ...  # noqa: D102
    def retrieve(self) -> tuple[bool, NDArray[np.uint8]]: ...  # noqa: D102
    def release(self) -> None: ...  # noqa: D102


class DeviceSource:
    """A V4L2 device. Live, without time stamps.

    Args:
        grabber: makes the capture of a device path; OpenCV's if absent.
    """

    live = True
    one_size = True

    def __init__(self, settings: Settings, grabber: Callable[[str], Grabber] | None = None) -> None:
        self.fps: float | None = None
        self._wanted = settings["source"]
        self._path = str(self._wanted["path"])
        self._make = grabber or self._opencv
        self._capture: Grabber | None = None

    def _opencv(self, path: str) -> Grabber:
        # OpenCV waits 10 s for a picture unless told otherwise, in whole seconds.
        limit = max(1, math.ceil(float(self._wanted["read_timeout_s"])))
        os.environ["OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT"] = str(limit)
        import cv2

        cv2.utils.logging.setLogLevel(0)
        capture: Grabber = cv2.VideoCapture(path, cv2.CAP_V4L2)
        return capture

    def open(self) -> None:
        """Open the device and ask for size, rate and pixel format. Raises SourceError."""
        self._check_path()
        capture = self._make(self._path)
        self._capture = capture
        if not capture.isOpened():
            msg = f"{self._path} cannot be opened as a camera; is another program using it?"
            raise SourceError("refused", msg)
        for prop, key in ((6, "fourcc"), (3, "width"), (4, "height"), (5, "fps")):
            value = self._wanted.get(key)
            if value is not None:
                capture.set(prop, _fourcc(value) if key == "fourcc" else float(value))
        capture.set(38, 2)  # CAP_PROP_BUFFERSIZE: one being filled, one being read
        self._check_size(capture)
        self.fps = capture.get(5) or None

    def _check_path(self) -> None:
        try:
            mode = os.stat(self._path).st_mode  # noqa: PTH116 - errors name the path
        except OSError as error:
            cause = "not_found" if isinstance(error, FileNotFoundError) else "refused"
            msg = f"no camera at {self._path} ({error.strerror}); is it plugged in?"
            raise SourceError(cause, msg) from None
        if not stat.S_ISCHR(mode):
            msg = f"{self._path} is not a device, expected one such as /dev/video0"
            raise SourceError("codec", msg)
        if not os.access(self._path, os.R_OK | os.W_OK):
            msg = f"{self._path} may not be opened; put the service's user into the group video"
            raise SourceError("authentication", msg)

    def _check_size(self, capture: Grabber) -> None:
        """A device that does not take the asked size would be judged at another scale."""
        got = int(capture.get(3)), int(capture.get(4))
        wanted = self._wanted.get("width") or got[0], self._wanted.get("height") or got[1]
        if got != wanted:
            msg = (
                f"{self._path} gives {got[0]}x{got[1]} pixels, asked for {wanted[0]}x{wanted[1]}; "
                "set a size that it has"
            )
            raise SourceError("codec", msg)

    def pictures(self, intake: Intake) -> Iterator[Picture]:
        """The pictures as they come. Raises SourceError when the device stalls or goes away."""
        capture = self._capture
        assert capture is not None, "open comes first"  # noqa: S101 - order of calls
        limit = float(self._wanted["read_timeout_s"])
        while True:
            asked = time.monotonic()
            ok = capture.grab()
            took = time.monotonic() - asked
            if not ok:
                if not os.path.exists(self._path):  # noqa: PTH110 - a string from the station file
                    msg = f"{self._path} is gone; was the camera unplugged?"
                    raise SourceError("ended", msg)
                cause, what = (
                    ("stalled", f"gave no picture for {took:.1f} s")
                    if took >= limit / 2
                    else ("ended", "gave no picture")
                )
                msg = f"{self._path} {what}; check camera and cable"
                raise SourceError(cause, msg)
            arrival = intake.arrive(read_s=took)
            height, width = int(capture.get(4)), int(capture.get(3))
            yield Picture(arrival, height, width, _writer(capture))
            intake.pause(0.0)

    def close(self) -> None:
        """Let the device go."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None


def _writer(capture: Grabber) -> Callable[[NDArray[np.uint8], int, int], None]:
    """Decodes the grabbed picture, which lasts until the next one is grabbed."""

    def write(out: NDArray[np.uint8], y: int, x: int) -> None:
        ok, pixels = capture.retrieve()
        if not ok or pixels is None:
            msg = "the device's picture cannot be decoded"
            raise DamagedPicture(msg)
        part = pixels[y : y + out.shape[0], x : x + out.shape[1]]
        if part.shape != out.shape:
            msg = f"the device gave {pixels.shape}, expected a picture that holds {out.shape}"
            raise DamagedPicture(msg)
        out[:] = part

    return write


def _fourcc(text: str) -> float:
    """OpenCV's number of a pixel format's four letters.

    >>> _fourcc("MJPG")
    1196444237.0
    """
    return float(int.from_bytes(text.encode("ascii", "replace"), "little"))


def make(settings: Settings, username: str | None, password: str | None) -> DeviceSource:
    """The source of a camera of kind `device`."""
    del username, password
    return DeviceSource(settings)
