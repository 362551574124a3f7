"""One camera's worker: a process that reads the source and writes due pictures into slots.

Started as `python -m inspector.capture.worker SOCKET PAGE` with two inherited descriptors: one end
of the supervisor's socket pair and the counter page. All else, credentials included, comes over the
socket. It ends when the socket does, and with its parent.
"""

from __future__ import annotations

import contextlib
import ctypes
import select
import signal
import socket
import sys
import time
import traceback
from typing import TYPE_CHECKING

import numpy as np

from inspector.capture import wire
from inspector.capture.asks import Asks
from inspector.capture.barrier import Barrier
from inspector.capture.counters import (
    ARRIVED,
    BEAT_NS,
    COVERED_PERMILLE,
    IDLE,
    KEY_EVERY,
    LAST_ARRIVAL_NS,
    LOST,
    NO_SLOT,
    NOT_DUE,
    OPENING,
    PARTS,
    PHASE,
    READING,
    STALE,
    WAITING,
    CounterPage,
)
from inspector.capture.interval import Interval
from inspector.capture.lateness import MOST_STALE_S, Freshness
from inspector.capture.sources import make_source
from inspector.capture.sources.base import Arrival, DamagedPicture, Picture, SourceError
from inspector.capture.stillness import Stillness
from inspector.frame import Trigger
from inspector.slots import Ring

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from inspector.capture.sources.base import Settings, Source

TURN_S = 0.25
"""Longest the worker waits for anything without a sign of life."""

HOPELESS = (
    f"every frame of the last {MOST_STALE_S:g} s was stale, so the camera is opened anew; if that "
    "goes on, its network or this box is too slow, or its clock runs wrong: for rtsp, "
    "time_stamps: ignore goes by the arrival of the frames alone"
)

FROZEN = (
    "the picture has not changed by one bit for {seconds:g} s or more: the camera is stuck, and "
    "nothing is judged until it shows otherwise; restart the camera, or what lies between. Where a "
    "dark scene looks like that, raise frozen_after_s, or set it to 0"
)

PR_SET_PDEATHSIG, PR_SET_NAME = 1, 15


class Stopped(Exception):  # noqa: N818 - not an error
    """The supervisor asked for the end, or is gone."""


class Worker:
    """The worker's state: its socket, its counters, the slots it may write.

    Implements `Intake` for its source.
    """

    def __init__(self, end: socket.socket, page: CounterPage) -> None:
        self._end = end
        self._poll = select.poll()  # `select` takes no descriptors from 1024 on
        self._poll.register(end, select.POLLIN)
        self._page = page
        self._settings: Settings = {}
        self._credentials: tuple[str | None, str | None] = (None, None)
        self._go: tuple[int, int, list[int]] | None = None
        self._ring: Ring | None = None
        self._epoch = -1
        self._free: list[int] = []
        self._damaged_out = 0
        self._sequence = 0
        self._epoch_began = 0  # sequence number at which the current epoch began
        self._size: tuple[int, int] | None = None
        self._interval = Interval(0.0)
        self._last_key: int | None = None
        self._asks = Asks()
        self._held = 0  # asks that are announced and on their way
        self._still = Stillness(0)
        self._barrier: Barrier | None = None
        self._misfit = False  # the last connection's pictures did not hold region or barrier
        self._phase(IDLE)

    # -- Intake ---------------------------------------------------------------------------------

    def arrive(self, pts_s: float | None = None, read_s: float = 0.0) -> Arrival:
        """Count a frame as arrived now."""
        now = time.monotonic_ns()
        utc = time.time_ns()
        words = self._page.words
        words[ARRIVED] += 1
        words[LAST_ARRIVAL_NS] = now
        words[BEAT_NS] = now
        self._sequence += 1
        return Arrival(self._sequence - 1, now, utc, pts_s, read_s)

    def lose(self, frames: int) -> None:
        """Arrived frames of which no picture comes any more."""
        self._page.words[LOST] += frames

    def pause(self, seconds: float) -> None:
        """Wait that long, answering the supervisor. Raises Stopped."""
        until = time.monotonic() + seconds
        if seconds > 0:
            self._phase(WAITING)
        self._listen(0.0)
        while (left := until - time.monotonic()) > 0:
            self._listen(min(left, TURN_S))
        self._phase(READING)

    # -- life -----------------------------------------------------------------------------------

    def run(self) -> None:
        """Serve one connection after the other until told to stop. Raises Stopped."""
        wire.send(self._end, {"t": "hello"})
        source: Source | None = None
        while True:
            self._phase(IDLE)
            while self._go is None:
                self._listen(TURN_S)
            self._take_ring()
            self._sequence = self._epoch_began = 0
            self._size = None
            self._interval = Interval(float(self._settings["inspect"]["every_s"]))
            self._last_key = None
            self._page.words[KEY_EVERY] = 0
            if source is None:
                source = make_source(self._settings, *self._credentials)
            try:
                self._serve(source)
                message: wire.Message = {"t": "ended", "epoch": self._epoch}
            except SourceError as error:
                self._misfit = error.cause == "region"
                message = {
                    "t": "lost",
                    "epoch": self._epoch,
                    "cause": error.cause,
                    "detail": str(error),
                }
            finally:
                source.close()
            self._phase(IDLE)
            wire.send(self._end, message)

    def _serve(self, source: Source) -> None:
        self._phase(OPENING)
        source.open()
        self._phase(READING)
        self._asks.clear()  # of an earlier connection
        self._still.reopened()
        told = not source.live  # a camera is open when pictures come; a folder may wait for some
        if told:
            self._tell_opened(source)
        timeout_s = float(self._settings["source"].get("read_timeout_s", 2.0))
        fresh = Freshness(float(self._settings["max_age_s"]), timeout_s)
        for picture in source.pictures(self):
            self._listen(0.0)
            arrival = picture.arrival
            if picture.key:
                self._saw_key(arrival.sequence)
            if source.live and fresh.stale(arrival.arrived_ns / 1e9, arrival.pts_s, arrival.read_s):
                self._page.words[STALE] += 1
                if fresh.hopeless:
                    raise SourceError("stalled", HOPELESS)
                continue
            if self._still.suspect and not self._has_changed(picture, source):
                self._page.words[STALE] += 1
                continue
            if not told:
                if picture.damage is not None and self._misfit:
                    self.lose(1)  # whether region and barrier fit now, only a whole one tells
                    continue
                self._hold_parts(picture, source)
                self._tell_opened(source)
                told = True
            if self._is_due(picture):
                self._pass_on(picture, source)
            else:
                self._glance(picture, source)
                self._page.words[NOT_DUE] += 1
            self._phase(READING)

    def _saw_key(self, sequence: int) -> None:
        if self._last_key is not None:
            self._page.words[KEY_EVERY] = sequence - self._last_key
        self._last_key = sequence

    def _tell_opened(self, source: Source) -> None:
        wire.send(self._end, {"t": "opened", "epoch": self._epoch, "fps": source.fps})

    def _has_changed(self, picture: Picture, source: Source) -> bool:
        """Whether a camera that was frozen before its reconnect shows something else now."""
        self._glance(picture, source)
        return not self._still.suspect

    def _glance(self, picture: Picture, source: Source) -> None:
        """Look whether the camera is frozen, in a slot that is free; raises SourceError if so."""
        if not self._free or not self._wants_look(picture):
            return
        (y, x, height, width), damage = self._cutout(picture, source)
        if damage is not None:
            return
        assert self._ring is not None and picture.write is not None  # noqa: S101, PT018
        pixels = self._ring.picture(self._free[-1], height, width)
        with contextlib.suppress(DamagedPicture):
            picture.write(pixels, y, x)
            self._look(pixels, picture.arrival)

    def _wants_look(self, picture: Picture) -> bool:
        return self._still.wants(picture.arrival.arrived_ns / 1e9, key=picture.key)

    def _look(self, pixels: NDArray[np.uint8], arrival: Arrival) -> None:
        if self._still.look(pixels, arrival.arrived_ns / 1e9):
            self._page.words[STALE] += 1
            raise SourceError("frozen", FROZEN.format(seconds=self._still.after_s))

    def _is_due(self, picture: Picture) -> bool:
        """Whether the frame is to be judged. Raises Stopped, and SourceError."""
        arrival = picture.arrival
        if self._settings["inspect"]["on_trigger"]:
            while self._held:
                self._listen(TURN_S)
            return self._asks.want(arrival.arrived_ns)
        at = _time_of(arrival)
        if self._barrier is not None:
            self._watch(self._barrier, picture)
            return self._barrier.due(at)
        return self._interval.due(at)

    def _hold_parts(self, picture: Picture, source: Source) -> None:
        """Raise SourceError if the pictures cannot hold region or barrier: such never run."""
        self._cutout(picture, source)
        if self._barrier is not None and picture.damage is None:
            self._hold_barrier(self._barrier, picture)

    def _hold_barrier(self, barrier: Barrier, picture: Picture) -> None:
        """Raise SourceError if the barrier lies outside the picture."""
        right, bottom = barrier.x + barrier.width, barrier.y + barrier.height
        if right > picture.width or bottom > picture.height:
            msg = (
                f"the barrier x={barrier.x} y={barrier.y} width={barrier.width} "
                f"height={barrier.height} lies outside the picture of {picture.width}x"
                f"{picture.height} pixels; correct inspect.on_motion in the station file"
            )
            self.lose(1)
            raise SourceError("region", msg)

    def _watch(self, barrier: Barrier, picture: Picture) -> None:
        """Look at the barrier in the picture; a damaged one shows none. Raises SourceError."""
        if picture.write is None:
            return
        self._hold_barrier(barrier, picture)
        strip = np.empty((barrier.height, barrier.width, 3), np.uint8)
        with contextlib.suppress(DamagedPicture):
            picture.write(strip, barrier.y, barrier.x)
            barrier.look(strip, _time_of(picture.arrival))
        covered = barrier.covered
        self._page.words[PARTS] = barrier.parts
        self._page.words[COVERED_PERMILLE] = -1 if covered is None else round(covered * 1000)

    def _pass_on(self, picture: Picture, source: Source) -> None:
        """Write a due picture into a slot and tell the supervisor, or say why there is none."""
        (y, x, height, width), damage = self._cutout(picture, source)
        if damage is None and self._size != (height, width):
            self._resize(height, width, picture.arrival.sequence, source)
        if not self._has_room(damage is not None, live=source.live):
            self._page.words[NO_SLOT] += 1  # a trigger goes on asking
            return
        slot = -1
        if damage is None:
            assert self._ring is not None and picture.write is not None  # noqa: S101, PT018
            slot = self._free.pop()
            try:
                pixels = self._ring.picture(slot, height, width)
                picture.write(pixels, y, x)
                if self._wants_look(picture):
                    self._look(pixels, picture.arrival)
            except DamagedPicture as error:
                self._free.append(slot)
                slot, damage = -1, f"{error.cause}: {error}"
        if damage is not None:
            self._damaged_out += 1
            height = width = 0
        arrival = picture.arrival
        self._asks.take(arrival.arrived_ns)
        if self._barrier is not None:
            self._barrier.take(_time_of(arrival))
        wire.send(
            self._end,
            {
                "t": "frame",
                "slot": slot,
                "seq": max(0, arrival.sequence - self._epoch_began),
                "h": height,
                "w": width,
                "at": arrival.arrived_ns,
                "utc": arrival.arrived_utc_ns,
                "dec": time.monotonic_ns(),
                "pts": arrival.pts_s,
                "damage": damage[:500] if damage else None,
                "origin": picture.origin,
                "fifo": not source.live,
                "part": self._part_number(),
            },
        )

    def _part_number(self) -> int:
        """Number of the part that this frame alone shows, of all that this worker saw; or 0."""
        if self._barrier is not None:
            return self._barrier.passed
        if self._settings["counted"]:
            words = self._page.words
            return int(words[ARRIVED] - words[NOT_DUE])
        return 0

    def _cutout(
        self, picture: Picture, source: Source
    ) -> tuple[tuple[int, int, int, int], str | None]:
        """Top, left, height, width of what is inspected, and why it cannot be judged, if so."""
        if picture.damage is not None:
            return (0, 0, 0, 0), picture.damage
        try:
            part = self._part(picture)
        except SourceError as error:
            if source.one_size:
                self.lose(1)  # as all that would follow: this stream does not hold the region
                raise
            return (0, 0, 0, 0), f"too_small: {error}"
        _, _, height, width = part
        most = round(self._settings["max_megapixels"] * 1e6)
        if height * width > most:
            return part, (
                f"too_large: {height * width / 1e6:.1f} megapixels ({width}x{height}), at most "
                f"{most / 1e6:g} are judged; raise max_megapixels"
            )
        return part, None

    def _part(self, picture: Picture) -> tuple[int, int, int, int]:
        """Top, left, height, width of what is inspected; SourceError if outside the picture."""
        region = self._settings.get("region")
        if region is None:
            return 0, 0, picture.height, picture.width
        x, y, width, height = (int(region[key]) for key in ("x", "y", "width", "height"))
        if x + width > picture.width or y + height > picture.height:
            msg = (
                f"the region x={x} y={y} width={width} height={height} lies outside the picture "
                f"of {picture.width}x{picture.height} pixels; correct region in the station file"
            )
            raise SourceError("region", msg)
        return y, x, height, width

    def _resize(self, height: int, width: int, sequence: int, source: Source) -> None:
        """Say the size of the pictures; a stream whose size changes begins a new epoch and ring."""
        if self._size is not None and source.one_size:
            self._phase(WAITING)
            wire.send(self._end, {"t": "resize", "epoch": self._epoch})
            while self._go is None:
                self._listen(TURN_S)
            self._take_ring()
            self._epoch_began = sequence
        self._size = (height, width)
        wire.send(self._end, {"t": "size", "epoch": self._epoch, "h": height, "w": width})

    def _has_room(self, damaged: bool, *, live: bool) -> bool:
        """Whether a slot is free; frames that wait for one another wait for it here."""
        slots = self._ring.slots if self._ring else 0
        while True:
            if self._damaged_out < slots if damaged else bool(self._free):
                return True
            if live:
                self._listen(0.0)
                return self._damaged_out < slots if damaged else bool(self._free)
            self._phase(WAITING)
            self._listen(TURN_S)

    # -- supervisor -----------------------------------------------------------------------------

    def _take_ring(self) -> None:
        assert self._go is not None, "asked only after a go"  # noqa: S101
        (epoch, slot_bytes, fds), self._go = self._go, None
        if self._ring is not None:
            self._ring.close()
        slots = int(self._settings["slots"])
        self._ring = Ring(fds[0], slots, slot_bytes, f"{self._settings['name']}/{epoch}")
        self._epoch = epoch
        self._free = list(range(slots))
        self._damaged_out = 0

    def _listen(self, seconds: float) -> None:
        """Handle what the supervisor has said; wait that long for something. Raises Stopped."""
        self._page.words[BEAT_NS] = time.monotonic_ns()
        if seconds > 0 and not self._poll.poll(1000 * seconds):
            return
        while True:
            try:
                got = wire.receive(self._end, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            if got is None:
                raise Stopped
            self._handle(*got)

    def _handle(self, message: wire.Message, fds: list[int]) -> None:
        kind = message["t"]
        if kind == "settings":
            self._settings = message["camera"]
            self._credentials = message["username"], message["password"]
            self._still = Stillness(float(self._settings["source"].get("frozen_after_s", 0)))
            barrier = self._settings["inspect"]["on_motion"]
            self._barrier = None if barrier is None else Barrier(barrier)
            self._page.words[COVERED_PERMILLE] = -1
            _name_process(f"cam {self._settings['name']}")
        elif kind == "go":
            self._go = int(message["epoch"]), int(message["slot_bytes"]), fds
        elif kind == "free":
            if message["epoch"] != self._epoch:
                return  # of a ring that is gone
            if message["slot"] >= 0:
                self._free.append(int(message["slot"]))
            else:
                self._damaged_out -= 1
        elif kind == "hold":
            self._held += 1
        elif kind == "ask":
            self._held -= 1
            self._asks.add(Trigger(**message["trigger"]))
        elif kind == "stop":
            raise Stopped

    def _phase(self, phase: int) -> None:
        self._page.words[BEAT_NS] = time.monotonic_ns()
        self._page.words[PHASE] = phase


def _time_of(arrival: Arrival) -> float:
    """Seconds by the source's own clock, where it has one."""
    return arrival.pts_s if arrival.pts_s is not None else arrival.arrived_ns / 1e9


def _name_process(name: str) -> None:
    """What `ps` and `top` show; cut off by the kernel after 15 characters."""
    ctypes.CDLL(None).prctl(PR_SET_NAME, name.encode()[:15], 0, 0, 0)


def main(arguments: list[str]) -> int:
    """Run a worker over the descriptors that are named in the arguments."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    # Terminals and service managers reach the whole group; stop and reload are the station's.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    end = socket.socket(fileno=int(arguments[0]))
    page = CounterPage(int(arguments[1]))
    try:
        Worker(end, page).run()
    except (Stopped, BrokenPipeError, ConnectionResetError):
        return 0
    except Exception as error:  # noqa: BLE001 - the edge of the process: told, then restarted
        # Without the message: it may name an address with its password.
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{type(error).__name__} in {frame.name} (line {frame.lineno})"
        with contextlib.suppress(OSError):
            wire.send(end, {"t": "fault", "detail": where})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
