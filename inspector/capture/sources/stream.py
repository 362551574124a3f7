"""Compressed streams: packets in, pictures out, with the decoder's word on which are whole."""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING, Self

import av
import av.logging
import numpy as np
from av.codec.context import ThreadType
from av.video.reformatter import VideoReformatter

from inspector.capture.sources.base import Arrival, DamagedPicture, Picture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream
    from numpy.typing import NDArray

    from inspector.capture.sources.base import Intake

MOST_DELAY = 18
"""Packets after which one without a picture is given up: the most a codec reorders, and 2."""

HARMLESS = re.compile(r"SEI|mmco|co located|VUI|vui|deprecated|[Cc]olou?r", re.ASCII)
"""Decoder errors that leave the pixels as they were sent."""

GAP = re.compile(r"[Ff]rame num gap|[Mm]issing reference|Could not find ref", re.ASCII)
"""Decoder messages of any level that mean that a frame before this one never came."""

LOSS = re.compile(r"missed \d+ packets|dropping old packet|[Cc]orrupt|PES packet size", re.ASCII)
"""Demuxer messages that mean that a part of the stream is gone."""


class StreamDecoder:
    """Turns one connection's packets into pictures.

    FFmpeg conceals damage: a lost slice or a lost reference gives a picture that looks blurred. So
    a picture is damaged if its frame is marked, if decoding it failed or logged an error, and all
    that follow it up to the next key frame, as they are built upon it.

    Slice threads only: frame threads would hold pictures back by as many frames as there are
    threads.

    Not thread-safe; the log capture belongs to the thread that made it. Use as a context.
    """

    def __init__(self, stream: VideoStream, intake: Intake) -> None:
        self._stream = stream
        self._intake = intake
        self._context = stream.codec_context
        self._context.thread_type = ThreadType.SLICE
        self._context.thread_count = 1
        self._context.copy_opaque = True
        self._reformatter = VideoReformatter()
        self._waiting: deque[Arrival] = deque()  # arrived, no picture yet; in order of arrival
        self._bad_from: int | None = None
        self._bad_through = -1
        self._why = ""
        self._capture = av.logging.Capture(local=True)
        self._log: list[tuple[int, str, str]] = []

    def __enter__(self) -> Self:
        av.logging.set_skip_repeated(False)
        av.logging.set_level(av.logging.WARNING)
        self._log = self._capture.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._capture.__exit__(None, None, None)
        self._intake.lose(len(self._waiting))
        self._waiting.clear()

    def feed(self, packet: Packet[VideoStream], arrival: Arrival) -> Iterator[Picture]:
        """Decode one frame's packet; yields what came whole or damaged of this and earlier ones."""
        self._waiting.append(arrival)
        loss = next((text for _, _, text in self._log if LOSS.search(text)), None)
        self._log.clear()
        if loss or packet.is_corrupt:
            # What was lost may belong to this frame or begin the next one.
            self._spoil(arrival.sequence, loss or "packet marked as corrupt", reach=1)
        packet.opaque = arrival
        yield from self._decode(packet, arrival.sequence)
        yield from self._give_up(arrival.sequence - MOST_DELAY)

    def flush(self) -> Iterator[Picture]:
        """What the decoder still holds at the end of a file."""
        last = self._waiting[-1].sequence if self._waiting else 0
        yield from self._decode(None, last)
        yield from self._give_up(last + 1)

    def _give_up(self, before: int) -> Iterator[Picture]:
        """Frames that arrived before this one and never came out of the decoder."""
        while self._waiting and self._waiting[0].sequence < before:
            yield Picture(self._waiting.popleft(), damage="decode: the decoder gave no picture")

    def _decode(self, packet: Packet[VideoStream] | None, sequence: int) -> Iterator[Picture]:
        # A frame that is missing as a whole is told at the lowest level only.
        av.logging.set_level(av.logging.DEBUG)
        try:
            frames = self._context.decode(packet)
        except av.error.FFmpegError as error:
            frames = []
            self._spoil(sequence, error.strerror or type(error).__name__)
        finally:
            av.logging.set_level(av.logging.WARNING)
        name = self._context.name
        for level, source, text in self._log:
            if source != name:
                continue
            if GAP.search(text) or (level <= av.logging.ERROR and not HARMLESS.search(text)):
                self._spoil(sequence, text.strip())
                break
        self._log.clear()
        for frame in frames:
            if frame.key_frame and isinstance(frame.opaque, Arrival):
                # No decoder gives a picture from before a key frame after it.
                yield from self._give_up(frame.opaque.sequence)
            picture = self._picture(frame)
            if picture is not None:
                yield picture

    def _spoil(self, sequence: int, why: str, reach: int = 0) -> None:
        """Damage from this frame on, until a key frame after it (and after `reach` more)."""
        if self._bad_from is None:
            self._bad_from = sequence
        self._bad_through = max(self._bad_through, sequence + reach)
        self._why = why

    def _picture(self, frame: VideoFrame) -> Picture | None:
        if not self._waiting:
            return None  # given up already
        own = frame.opaque if isinstance(frame.opaque, Arrival) else self._waiting[0]
        first = self._waiting.popleft()
        # Reordered pictures keep rising sequence numbers, and each the time its own packet came.
        arrival = Arrival(first.sequence, own.arrived_ns, own.arrived_utc_ns, own.pts_s, own.read_s)
        if frame.is_corrupt:
            self._spoil(own.sequence, "the decoder marked the frame as corrupt")
        elif self._bad_from is not None and frame.key_frame and own.sequence > self._bad_through:
            self._bad_from = None
        if self._bad_from is not None and own.sequence >= self._bad_from:
            return Picture(arrival, damage=f"decode: {self._why}")
        write = self._writer(frame)
        return Picture(arrival, frame.height, frame.width, write, key=bool(frame.key_frame))

    def _writer(self, frame: VideoFrame) -> Callable[[NDArray[np.uint8], int, int], None]:
        def write(out: NDArray[np.uint8], y: int, x: int) -> None:
            try:
                bgr = self._reformatter.reformat(frame, format="bgr24", threads=1)
            except (av.error.FFmpegError, ValueError) as error:
                msg = f"no conversion of {frame.format.name} to BGR: {error}"
                raise DamagedPicture(msg) from error
            plane = bgr.planes[0]
            whole: NDArray[np.uint8] = np.ndarray(
                (bgr.height, bgr.width, 3),
                np.uint8,
                buffer=memoryview(plane),
                strides=(plane.line_size, 3, 1),
            )
            np.copyto(out, whole[y : y + out.shape[0], x : x + out.shape[1]])

        return write
