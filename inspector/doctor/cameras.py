"""Cameras, opened as the station opens them: a worker process each, with the same deadlines."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from inspector.capture.patience import GRACE_S, LOCAL_OPEN_S, LOCAL_READ_S, START_S
from inspector.capture.supervisor import Capture
from inspector.config.cameras import Inspect
from inspector.doctor.finding import Finding, Grade
from inspector.engine.folders import find_engine
from inspector.engine.manifest import read_manifest
from inspector.errors import EngineError, UserError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from inspector.capture.status import CameraStatus
    from inspector.config.cameras import Camera
    from inspector.config.secrets import Secrets
    from inspector.config.station import Station
    from inspector.doctor.state import RunningStation
    from inspector.engine.manifest import Sampling
    from inspector.frame import Frame

_TURN_S = 0.05
_SETTLE_S = 0.5
"""What a server has in store comes at once: the rate is measured after it."""
_LEAST_SHARE = 0.8
"""A camera that gives a smaller share of the pictures that the file asks of it is too slow."""
_SEEN_SHARE = 0.5
"""Of a picture of which the tiles see less it is said how much."""
_MISTAKES = frozenset(
    {
        ("rtsp", "authentication"),
        ("rtsp", "not_found"),
        ("video", "not_found"),
        ("images", "not_found"),
    }
)
"""Kinds and causes that are mended in the station file, or in a secret."""


@dataclass(slots=True)
class Seen:
    """What came of one camera while it was looked at.

    Attributes:
        opened, began: monotonic second of the first look at an open source, and of the first
            picture; None before.
        last: state at the end of the look.
    """

    opened: float | None = None
    began: float | None = None
    frames: int = 0
    damaged: int = 0
    damage: str = ""
    size_wh: tuple[int, int] | None = None
    last: CameraStatus | None = None
    _epoch: int = -1
    _from: tuple[int, int] | None = None
    _to: tuple[int, int] | None = None
    _steady_ns: int = 0

    def note(self, frame: Frame) -> None:
        """Take note of a frame."""
        self.frames += 1
        if frame.damage is not None:
            self.damaged += 1
            self.damage = frame.damage
            return
        if self.began is None:
            self.began = time.monotonic()
        self.size_wh = (frame.width, frame.height)
        if frame.stream_epoch != self._epoch:
            self._epoch, self._from, self._to = frame.stream_epoch, None, None
            self._steady_ns = frame.arrived_ns + round(_SETTLE_S * 1e9)
        at = (frame.sequence, frame.arrived_ns)
        if self._from is None and frame.arrived_ns >= self._steady_ns:
            self._from = at
        self._to = at

    @property
    def fps(self) -> float | None:
        """Arrivals a second, once two lie far enough apart."""
        if self._from is None or self._to is None or self._to[1] <= self._from[1]:
            return None
        return (self._to[0] - self._from[0]) / ((self._to[1] - self._from[1]) / 1e9)


def within_s(cameras: Mapping[str, Camera], seconds: float) -> float:
    """Longest the look at these cameras can take: what their own deadlines allow, and the look."""
    return max(_patience_s(camera) for camera in cameras.values()) + seconds + 5.0


def _patience_s(camera: Camera) -> float:
    source = camera.source
    open_s = float(getattr(source, "open_timeout_s", LOCAL_OPEN_S))
    read_s = float(getattr(source, "read_timeout_s", LOCAL_READ_S))
    return START_S + open_s + read_s + 2 * GRACE_S


def _quiet_s(camera: Camera, seconds: float) -> float:
    """How long an open source may give nothing: its own deadline, and a watched folder for ever."""
    if camera.source.kind == "images":
        return seconds
    return float(getattr(camera.source, "read_timeout_s", LOCAL_READ_S)) + GRACE_S


def check_cameras(
    station: Station, secrets: Secrets, running: RunningStation | None, *, seconds: float
) -> Iterator[Finding]:
    """Open all cameras at once, look at each for `seconds` after its first picture.

    Args:
        station: the station file.
        secrets: where the cameras' credentials are found.
        running: the station that runs already: devices are its own, and are left alone.
        seconds: time for each.
    """
    free = {
        name: camera
        for name, camera in station.cameras.items()
        if running is None or camera.source.kind != "device"
    }
    seen = look(free, secrets, seconds=seconds) if free else {}
    sampling = _sampling(station)
    for name, camera in station.cameras.items():
        if name in seen:
            yield from judge(name, camera, seen[name], sampling)
        else:
            found = f"held by the running station ({running}); not opened a second time"
            yield Finding("camera", name, Grade.NOTE, found, remedy="see its page")


def _sampling(station: Station) -> Sampling | None:
    """What the screen looks at; None where it cannot be read, which is told elsewhere."""
    try:
        engine = station.engine
        return read_manifest(find_engine(engine.screen, engine.folder)).sampling
    except (EngineError, UserError):
        return None


def look(cameras: Mapping[str, Camera], secrets: Secrets, *, seconds: float) -> dict[str, Seen]:
    """Open cameras side by side and count what comes; every frame, whatever is inspected of them.

    A camera that is lost is not waited for any longer.
    """
    capture = Capture(
        {n: camera.model_copy(update={"inspect": Inspect()}) for n, camera in cameras.items()},
        secrets=secrets,
        first_epochs={},
        on_change=lambda _: None,
        on_epoch=lambda *_: None,
        on_ring=lambda _: None,
        on_ring_end=lambda _: None,
    )
    seen = {name: Seen() for name in cameras}
    patience = {name: time.monotonic() + _patience_s(camera) for name, camera in cameras.items()}
    capture.start()
    try:
        while any(one.last is None for one in seen.values()):
            capture.wait(_TURN_S)
            for frame in capture.take(64):
                seen[frame.camera].note(frame)
                capture.release(frame, "judged")
            for name, status in capture.status().items():
                one = seen[name]
                if one.opened is None and status.state == "running":
                    one.opened = time.monotonic()
                    patience[name] = one.opened + _quiet_s(cameras[name], seconds)
                if one.last is None and _is_over(one, status, seconds, patience[name]):
                    one.last = status
    finally:
        capture.close()
    return seen


def _is_over(seen: Seen, status: CameraStatus, seconds: float, patience: float) -> bool:
    now = time.monotonic()
    if status.state in {"lost", "failed", "stalled"}:
        return True
    if status.state == "ended":
        return not status.counters.in_flight
    return now > (patience if seen.began is None else seen.began + seconds)


def judge(name: str, camera: Camera, seen: Seen, sampling: Sampling | None) -> Iterator[Finding]:
    """What is to be said of a camera that was looked at. Pure.

    Args:
        name: of the camera.
        camera: its section of the station file.
        seen: what came of it.
        sampling: which tiles of a picture the screen looks at; None: nobody knows.
    """
    status = seen.last
    assert status is not None, "the look has ended"  # noqa: S101
    if status.state not in {"running", "ended", "connecting"}:
        yield _lost(name, camera, status)
        return
    if seen.size_wh is None:
        yield _empty(name, camera, seen)
        return
    yield _well(name, camera, seen, status)
    yield from _barrier(name, camera, seen)
    if sampling is not None:
        yield from _tiles(name, seen.size_wh, sampling)
    yield from _flaws(name, camera, seen, status)


def _barrier(name: str, camera: Camera, seen: Seen) -> Iterator[Finding]:
    """Whether the barrier lies in the picture; of a region the picture's own size is not known."""
    asked = camera.inspect.on_motion
    if asked is None or camera.region is not None or seen.size_wh is None:
        return
    width, height = seen.size_wh
    if asked.x + asked.width <= width and asked.y + asked.height <= height:
        return
    yield Finding(
        "camera",
        name,
        Grade.MISTAKE,
        f"the barrier reaches to column {asked.x + asked.width} and row {asked.y + asked.height}",
        f"within the picture of {width}x{height}",
        "correct inspect.on_motion in the station file",
    )


def _lost(name: str, camera: Camera, status: CameraStatus) -> Finding:
    kind = camera.source.kind
    found, _, remedy = status.detail.rpartition("; ")
    mistake = (kind, status.cause) in _MISTAKES or status.state == "failed"
    return Finding(
        "camera",
        name,
        Grade.MISTAKE if mistake else Grade.MEND,
        f"{status.cause}: {found or remedy}",
        f"pictures of the {kind} source",
        remedy if found else "look at the camera",
        {"state": status.state, "cause": status.cause},
    )


def _empty(name: str, camera: Camera, seen: Seen) -> Finding:
    expected = "a whole picture"
    if seen.damaged:
        found = f"{seen.damaged} frames, all of them unjudgeable: {seen.damage}"
        return Finding("camera", name, Grade.MEND, found, expected, "look at camera and network")
    if camera.source.kind == "images":
        found = "the folder holds no picture yet"
        return Finding("camera", name, Grade.NOTE, found, expected)
    found, remedy = "it opened, and gave no picture", "look at the camera, or raise read_timeout_s"
    return Finding("camera", name, Grade.MEND, found, expected, remedy)


def _well(name: str, camera: Camera, seen: Seen, status: CameraStatus) -> Finding:
    assert seen.size_wh is not None, "a picture came"  # noqa: S101
    width, height = seen.size_wh
    facts: dict[str, Any] = {
        "width": width,
        "height": height,
        "frames": seen.frames,
        "fps": None if seen.fps is None else round(seen.fps, 2),
        "key_frame_every": status.key_every,
        "live": _is_live(camera),
    }
    parts = [f"{width}x{height}"]
    if seen.fps is not None:
        parts.append(f"{seen.fps:.1f} pictures a second")
    if status.key_every is not None:
        often = "every picture" if status.key_every == 1 else f"every {status.key_every} pictures"
        parts.append(f"a key frame {often}")
    if status.state == "ended":
        parts.append(f"{seen.frames} pictures to its end")
    return Finding("camera", name, Grade.GOOD, ", ".join(parts), "whole pictures", "", facts)


def _is_live(camera: Camera) -> bool:
    source = camera.source
    return source.kind not in {"video", "images"} or getattr(source, "pace", "") == "own"


def _tiles(name: str, size_wh: tuple[int, int], sampling: Sampling) -> Iterator[Finding]:
    """Whether the pictures hold a tile, and what of them the tiles see."""
    (width, height), tile = size_wh, sampling.tile
    share = sampling.count * tile**2 / (width * height)  # less where tiles overlap
    if min(width, height) < tile:
        found = f"pictures of {width}x{height} are smaller than one tile: none would be judged"
        remedy = "set a larger picture at the camera, or a larger region"
        yield Finding("camera", name, Grade.MISTAKE, found, f"at least {tile}x{tile}", remedy)
    elif share < _SEEN_SHARE:
        found = f"{sampling.count} tiles of {tile} px see {share:.0%} of the picture"
        expected = "what is inspected, under the tiles"
        remedy = "where only a part of the picture matters, set region around it"
        facts = {"seen_share": round(share, 4)}
        yield Finding("camera", name, Grade.NOTE, found, expected, remedy, facts)


def _flaws(name: str, camera: Camera, seen: Seen, status: CameraStatus) -> Iterator[Finding]:
    asked = _asked_fps(camera)
    if asked and seen.fps is not None and seen.fps < _LEAST_SHARE * asked:
        found = f"{seen.fps:.1f} pictures a second"
        remedy = "look at exposure time, USB port and load of this box"
        yield Finding("camera", name, Grade.MEND, found, f"{asked:g}, as the file asks", remedy)
    if seen.damaged:
        found = f"{seen.damaged} of {seen.frames} frames were damaged: {seen.damage}"
        remedy = "look at cable, network and transport: such frames are unjudgeable"
        yield Finding("camera", name, Grade.MEND, found, "none", remedy)
    stale = status.counters.dropped["stale"]
    if stale:
        found = f"{stale} of {status.counters.frames_in} frames came late"
        remedy = "look at network and load of this box, or raise max_age_s"
        yield Finding(
            "camera", name, Grade.MEND, found, f"less than {camera.max_age_s:g} s", remedy
        )


def _asked_fps(camera: Camera) -> float | None:
    """Pictures a second that the station file asks of the source; None where it asks none."""
    value = getattr(camera.source, "fps", None)
    return None if value is None else float(value)
