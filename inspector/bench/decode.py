"""Capture and decode of 1080p H.264 into the slot, against PyAV alone.

Both sides are compared by the processor time a frame: they run in processes of their own, and what
else runs on the machine then counts for neither.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from statistics import median
from typing import TYPE_CHECKING

import av
from av.codec.context import ThreadType
from av.video.reformatter import VideoReformatter

from inspector.bench.clips import write_clip
from inspector.bench.figure import BenchError, Figure, bracketed_ratio
from inspector.bench.processes import cpu_s
from inspector.bench.setting import station_of
from inspector.capture.sources.base import Numbering
from inspector.capture.sources.video import VideoSource
from inspector.capture.supervisor import Capture
from inspector.config.secrets import Secrets
from inspector.slots import Ring

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from inspector.bench.setting import Setting

BOUND = 1.25
FRAMES = 60
_SLOTS = 6
_SILENCE_S = 60.0


def measure(setting: Setting) -> Iterator[Figure]:
    """Processor time of a worker a frame, against decoding and one colour conversion alone."""
    setting.say("making a clip of 1080p H.264")
    clip = write_clip(setting.folder / "clip.mp4", frames=FRAMES, fps=25, size_wh=setting.size_wh)
    setting.say("a worker and PyAV alone, in turn")
    with _worker(clip) as worker:
        worker.frame_s()
        theirs = [alone_s(clip, convert=True)]
        ours, sources = [], []
        for _ in range(setting.rounds):
            ours.append(worker.frame_s())
            sources.append(source_s(clip, setting.size_wh))
            theirs.append(alone_s(clip, convert=True))
    yield Figure(
        "decode",
        "processor time of a worker a 1080p frame, times PyAV's decode and conversion alone",
        round(bracketed_ratio(ours, theirs), 4),
        BOUND,
        details={
            "worker_ms": round(median(ours) * 1e3, 2),
            "alone_ms": round(median(theirs) * 1e3, 2),
            "source_into_slot_ratio": round(bracketed_ratio(sources, theirs), 4),
            "decode_only_ms": round(alone_s(clip, convert=False) * 1e3, 2),
            "rounds": setting.rounds,
        },
    )


def alone_s(clip: Path, *, convert: bool) -> float:
    """Processor seconds of this thread a frame: one pass over the clip, opened and closed."""
    reformatter = VideoReformatter()
    frames = 0
    began = time.thread_time()
    with av.open(str(clip)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_type = ThreadType.SLICE
        stream.codec_context.thread_count = 1
        for frame in container.decode(stream):
            if convert:
                reformatter.reformat(frame, format="bgr24", threads=1)
            frames += 1
    return (time.thread_time() - began) / frames


def source_s(clip: Path, size_wh: tuple[int, int]) -> float:
    """Processor seconds of this thread a frame, by the worker's own source and into slots.

    The same work as the worker's without its messages, its waits and another process's caches.
    """
    width, height = size_wh
    ring = Ring.create("bench/0", slots=_SLOTS, max_pixels=width * height)
    source = VideoSource(str(clip), loop=False, own_pace=False)
    frames = 0
    try:
        began = time.thread_time()
        source.open()
        for picture in source.pictures(Numbering()):
            if picture.write is not None:
                picture.write(ring.picture(frames % _SLOTS, height, width), 0, 0)
            frames += 1
        return (time.thread_time() - began) / frames
    finally:
        source.close()
        ring.close()


class _Worker:
    """A camera on the clip, for ever; it waits while nobody takes its frames."""

    def __init__(self, clip: Path) -> None:
        source = {"kind": "video", "path": str(clip), "loop": True, "pace": "fast"}
        cameras = station_of({"bench": {"source": source}}).cameras
        self.capture = Capture(
            cameras,
            secrets=Secrets({}),
            first_epochs={},
            on_change=lambda _: None,
            on_epoch=lambda *_: None,
            on_ring=lambda _: None,
            on_ring_end=lambda _: None,
        )
        self.capture.start()

    def frame_s(self, frames: int = 2 * FRAMES) -> float:
        """Processor seconds of the worker a frame."""
        self._take(1)
        (pid,) = self.capture.pids().values()
        began, first = cpu_s(pid), self._arrived()
        self._take(frames)
        return (cpu_s(pid) - began) / (self._arrived() - first)

    def _arrived(self) -> int:
        return self.capture.counters("bench").frames_in

    def _take(self, count: int) -> None:
        deadline = time.monotonic() + _SILENCE_S
        while count > 0:
            if time.monotonic() > deadline:
                msg = f"the worker gave too few frames within {_SILENCE_S:g} s"
                raise BenchError(msg)
            self.capture.wait(0.1)
            for frame in self.capture.take(count):
                self.capture.release(frame, "judged")
                count -= 1


@contextmanager
def _worker(clip: Path) -> Iterator[_Worker]:
    worker = _Worker(clip)
    try:
        yield worker
    finally:
        worker.capture.close()
