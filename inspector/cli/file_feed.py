"""Files as a feed for the judge: the same way that the frames of cameras go.

A reader thread decodes into a small ring and waits while it is full; the judge takes the frames as
those of one camera whose frames wait for one another, so that the answers come in the files' order.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

import numpy as np

from inspector.capture.sources.base import Arrival, DamagedPicture, Numbering, SourceError
from inspector.capture.sources.pictures import MOST_PIXELS, PictureError, read_picture
from inspector.capture.sources.video import VideoSource
from inspector.engine.judge import Judge
from inspector.errors import EngineError
from inspector.frame import Frame
from inspector.slots import Ring

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from inspector.capture.sources.base import Picture
    from inspector.engine.load import Engine
    from inspector.verdict import Verdict

_SLOTS = 4
_AHEAD = 8
"""Frames between reader and printer, damaged ones included."""
_WHOLE_FILE = -1
"""Sequence number of what is said of a file and not of a frame in it."""
_SILENCE_S = 120.0
_STOP_WITHIN_S = 10.0
_LOOK_S = 0.1


@dataclass(frozen=True, slots=True)
class Answer:
    """What is said of a picture, of one frame of a video, or of a video that cannot be read.

    Attributes:
        file: number of the file, from 1.
        frame, time_s: number from 0 and time stamp within a video; else None.
    """

    path: Path
    file: int
    frame: int | None
    time_s: float | None
    verdict: Verdict


def judge_files(
    engine: Engine, files: Sequence[Path], *, is_video: Callable[[Path], bool]
) -> Iterator[Answer]:
    """Judge files in order. The engine stays the caller's.

    Raises:
        EngineError: the engine went silent.
    """
    feed = _FileFeed(files, is_video)
    judge = Judge(
        feed,
        engine,
        None,
        max_batch=engine.runtime.max_batch,
        max_delay_s=0.0,
        confirm_within_s=1.0,
        on_verdict=feed.answer,
    )
    judge.map_ring(feed.ring)
    judge.start()
    feed.start()
    try:
        while (answer := feed.next_answer(_SILENCE_S)) is not None:
            yield answer
    except Empty:
        msg = f"engine {engine.info.name} gave no answer within {_SILENCE_S:.0f} s"
        raise EngineError(msg) from None
    finally:
        feed.stop()
        judge.stop(_STOP_WITHIN_S)
        judge.unmap_ring(feed.ring.key)
        feed.ring.close()


class _StoppedError(Exception):
    """Nobody wants more answers."""


class _FileFeed:
    """`FrameFeed` over files.

    `wait`, `take` and `answer` belong to the judge's threads, `next_answer` and `stop` to the
    printer; all else runs on the reader's own thread. A frame's `stream_epoch` is the number of its
    file.
    """

    def __init__(self, files: Sequence[Path], is_video: Callable[[Path], bool]) -> None:
        self.ring = Ring.create("files/1", slots=_SLOTS, max_pixels=MOST_PIXELS)
        self._files = files
        self._is_video = is_video
        self._answers: SimpleQueue[Answer | None] = SimpleQueue()
        self._free: SimpleQueue[int] = SimpleQueue()
        for slot in range(_SLOTS):
            self._free.put(slot)
        self._room = threading.Semaphore(_AHEAD)
        self._changed = threading.Condition()
        self._ready: deque[Frame] = deque()
        self._given = self._answered = 0
        self._read_all = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._read, name="reader", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """Read no further."""
        self._stopping.set()
        self._thread.join(_STOP_WITHIN_S)

    def next_answer(self, timeout_s: float) -> Answer | None:
        """The next answer in the files' order, None after the last; Empty if none comes."""
        return self._answers.get(timeout=timeout_s)

    def wait(self, timeout_s: float) -> bool:
        """As `FrameFeed.wait`."""
        with self._changed:
            return self._changed.wait_for(lambda: bool(self._ready), timeout_s)

    def take(self, most: int) -> list[Frame]:
        """As `FrameFeed.take`: the oldest frames first, none is passed over."""
        with self._changed:
            return [self._ready.popleft() for _ in range(min(most, len(self._ready)))]

    def answer(self, frame: Frame, verdict: Verdict) -> None:
        """Take a verdict; the frame's slot is free again."""
        if frame.slot >= 0:
            self._free.put(frame.slot)
        path = self._files[frame.stream_epoch - 1]
        of_video = frame.sequence != _WHOLE_FILE and self._is_video(path)
        number = frame.sequence if of_video else None
        self._answers.put(Answer(path, frame.stream_epoch, number, frame.pts_s, verdict))
        self._room.release()
        with self._changed:
            self._answered += 1
            self._end_if_done()

    def _end_if_done(self) -> None:
        if self._read_all and self._answered == self._given:
            self._answers.put(None)

    def _read(self) -> None:
        try:
            for number, path in enumerate(self._files, 1):
                read = self._read_video if self._is_video(path) else self._read_picture
                try:
                    read(number, path)
                except _StoppedError:
                    raise
                except Exception as error:  # noqa: BLE001 - the edge of the thread: told, and on
                    why = f"{path.name} cannot be read: {type(error).__name__}: {error}"
                    self._give(number, _arrival(_WHOLE_FILE), damage=f"decode: {why}")
        except _StoppedError:
            return
        with self._changed:
            self._read_all = True
            self._end_if_done()

    def _read_picture(self, number: int, path: Path) -> None:
        arrival = _arrival(_WHOLE_FILE)
        try:
            picture = read_picture(path)
        except PictureError as error:
            self._give(number, arrival, damage=f"{error.cause}: {error}")
            return
        slot = self._slot()
        height, width = picture.shape[:2]
        np.copyto(self.ring.picture(slot, height, width), picture)
        self._give(number, arrival, height, width, slot)

    def _read_video(self, number: int, path: Path) -> None:
        source = VideoSource(str(path), loop=False, own_pace=False)
        given = 0
        try:
            source.open()
            for picture in source.pictures(Numbering()):
                given += 1
                self._give_video_frame(number, picture)
            if not given:
                damage = f"decode: {path.name} holds no picture"
                self._give(number, _arrival(_WHOLE_FILE), damage=damage)
        except SourceError as error:
            self._give(number, _arrival(_WHOLE_FILE), damage=f"decode: {error}")
        finally:
            source.close()

    def _give_video_frame(self, number: int, picture: Picture) -> None:
        if picture.write is None:
            damage = picture.damage or "decode: no picture"
            self._give(number, picture.arrival, damage=damage)
            return
        slot = self._slot()
        try:
            out: NDArray[np.uint8] = self.ring.picture(slot, picture.height, picture.width)
            picture.write(out, 0, 0)
        except (DamagedPicture, ValueError) as error:
            self._free.put(slot)
            cause = error.cause if isinstance(error, DamagedPicture) else "too_large"
            self._give(number, picture.arrival, damage=f"{cause}: {error}")
            return
        self._give(number, picture.arrival, picture.height, picture.width, slot)

    def _slot(self) -> int:
        while not self._stopping.is_set():
            try:
                return self._free.get(timeout=_LOOK_S)
            except Empty:
                continue
        raise _StoppedError

    def _give(
        self,
        number: int,
        arrival: Arrival,
        height: int = 0,
        width: int = 0,
        slot: int = -1,
        *,
        damage: str | None = None,
    ) -> None:
        while not self._room.acquire(timeout=_LOOK_S):
            if self._stopping.is_set():
                raise _StoppedError
        frame = Frame(
            camera="files",
            stream_epoch=number,
            sequence=arrival.sequence,
            height=height,
            width=width,
            arrived_ns=arrival.arrived_ns,
            arrived_utc_ns=arrival.arrived_utc_ns,
            decoded_ns=time.monotonic_ns(),
            pts_s=arrival.pts_s,
            ring=None if slot < 0 else self.ring,
            slot=slot,
            damage=damage,
            fifo=True,
            origin=str(self._files[number - 1]),
        )
        with self._changed:
            self._given += 1
            self._ready.append(frame)
            self._changed.notify()


def _arrival(sequence: int, pts_s: float | None = None) -> Arrival:
    return Arrival(sequence, time.monotonic_ns(), time.time_ns(), pts_s)
