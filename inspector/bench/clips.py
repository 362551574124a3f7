"""Generated clips: parts on a belt, as H.264."""

from __future__ import annotations

from typing import TYPE_CHECKING

import av
import numpy as np

from inspector.bench.figure import BenchError
from inspector.capture.sources.pattern import SPEED_PX, paint_belt

if TYPE_CHECKING:
    from pathlib import Path

_KEY_EVERY = 25


def write_clip(path: Path, *, frames: int, fps: int, size_wh: tuple[int, int]) -> Path:
    """Write an H.264 clip of even width and height.

    Raises:
        BenchError: this FFmpeg cannot encode H.264.
    """
    width, height = size_wh
    belt = paint_belt(height, width, 1)
    try:
        with av.open(str(path), "w") as container:
            options = {"preset": "veryfast", "crf": "23", "bf": "0"}
            stream = container.add_stream("libx264", rate=fps, options=options)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.gop_size = _KEY_EVERY
            for number in range(frames):
                left = number * SPEED_PX % (belt.shape[1] - width)
                view = np.ascontiguousarray(belt[:, left : left + width])
                for packet in stream.encode(av.VideoFrame.from_ndarray(view, format="bgr24")):
                    container.mux(packet)
            for packet in stream.encode():
                container.mux(packet)
    except (av.error.FFmpegError, ValueError) as error:
        msg = f"no H.264 clip can be made here: {error}"
        raise BenchError(msg) from error
    return path
