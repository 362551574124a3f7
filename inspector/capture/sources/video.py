"""Video files: once, or for ever, as fast as recorded or as fast as they are judged."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import av

from inspector.capture.sources.base import Picture, SourceError
from inspector.capture.sources.endings import missing_bytes
from inspector.capture.sources.stream import StreamDecoder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from av.container import InputContainer

    from inspector.capture.sources.base import Intake, Settings


class VideoSource:
    """A video file. Pictures wait for one another; the time stamps are the file's.

    A file that breaks off gives the pictures that it holds, and one more that is damaged.
    """

    live = False
    one_size = True

    def __init__(self, path: str, *, loop: bool, own_pace: bool) -> None:
        self.fps: float | None = None
        self._path = path
        self._loop = loop
        self._own_pace = own_pace
        self._container: InputContainer | None = None

    def open(self) -> None:
        """Open the file. Raises SourceError: `not_found`, or `codec` if it holds no video."""
        try:
            # Absolute, since FFmpeg takes what stands before a colon for a protocol.
            self._container = av.open(str(Path(self._path).absolute()))
        except FileNotFoundError:
            msg = f"there is no file {self._path}; correct path in the station file"
            raise SourceError("not_found", msg) from None
        except (av.error.FFmpegError, OSError) as error:
            missing = self._missing_bytes()
            why = f"it is truncated, {missing} bytes are missing" if missing else error.strerror
            msg = f"{self._path} cannot be read as a video: {why}"
            raise SourceError("codec", msg) from error
        if not self._container.streams.video:
            msg = f"{self._path} holds no video stream"
            raise SourceError("codec", msg)
        rate = self._container.streams.video[0].average_rate
        self.fps = float(rate) if rate else None

    def pictures(self, intake: Intake) -> Iterator[Picture]:
        """All pictures of the file, again and again if it loops."""
        start = time.monotonic()
        while True:
            played = 0.0
            for picture, until in self._once(intake, start):
                played = max(played, until)
                yield picture
            if not self._loop:
                return
            # The next round starts when the last picture has been shown.
            start += played
            if not played:
                intake.pause(0.1)  # a file without a single picture must not spin
            self.close()
            self.open()

    def _once(self, intake: Intake, start: float) -> Iterator[tuple[Picture, float]]:
        """One round; with each picture the seconds of the round at which the next one is due."""
        assert self._container is not None, "open comes first"  # noqa: S101 - order of calls
        stream = self._container.streams.video[0]
        step = 1 / self.fps if self.fps else 0.04
        first: float | None = None
        until = 0.0
        with StreamDecoder(stream, intake) as decoder:
            try:
                for packet in self._container.demux(stream):
                    if packet.size == 0:
                        continue
                    at = packet.dts if packet.dts is not None else packet.pts
                    due = until
                    if at is not None and packet.time_base:
                        seconds = float(at * packet.time_base)
                        first = seconds if first is None else first
                        due = max(0.0, seconds - first)
                    if self._own_pace:
                        intake.pause(max(0.0, start + due - time.monotonic()))
                    until = due + step
                    pts = packet.pts
                    arrival = intake.arrive(
                        float(pts * packet.time_base) if pts is not None else None
                    )
                    for picture in decoder.feed(packet, arrival):
                        yield picture, until
            except av.error.FFmpegError as error:
                msg = f"{self._path} broke off while reading: {error.strerror}"
                raise SourceError("codec", msg) from error
            for picture in decoder.flush():
                yield picture, until
        if missing := self._missing_bytes():
            damage = (
                f"decode: {self._path} is truncated: its last part lacks {missing} bytes; "
                "copy it again"
            )
            yield Picture(intake.arrive(), damage=damage), until

    def _missing_bytes(self) -> int:
        try:
            with Path(self._path).open("rb") as file:
                return missing_bytes(file, os.fstat(file.fileno()).st_size)
        except OSError:
            return 0  # gone meanwhile; its pictures were read

    def close(self) -> None:
        """Close the file."""
        if self._container is not None:
            self._container.close()
            self._container = None


def make(settings: Settings, username: str | None, password: str | None) -> VideoSource:
    """The source of a camera of kind `video`."""
    del username, password
    source = settings["source"]
    return VideoSource(source["path"], loop=source["loop"], own_pace=source["pace"] == "own")
