"""All stations, from their events: takes records in, and answers for what is shown.

Everything here is bounded: stations, cameras, labels, texts, remembered ids, and the days that are
counted. What goes beyond a bound is counted as such and shown. Nothing that a record holds raises.
"""

from __future__ import annotations

import fnmatch
import json
import re
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

from inspector.config.base import NAME_PATTERN
from inspector.errors import EventsError
from inspector.events import kinds
from inspector.events.model import MODELS, parse
from inspector.fleet.ledger import STEP_S, Ledger, step_of
from inspector.fleet.stations import AHEAD_S, Camera, Station, cut

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from inspector.config.fleet import Fleet as Settings
    from inspector.fleet.stations import Beat

MOST_STATIONS = 1000
MOST_CAMERAS = 4000
MOST_LABELS = 16
MOST_UNKNOWN = 20
OTHER = "other"
"""What labels beyond the bound are counted as."""
JUDGED, REJECTED, UNCERTAIN, UNJUDGEABLE = range(4)
FIRST_LABEL = 4
"""Columns of the ledger."""

_NAME = re.compile(NAME_PATTERN)


class Fleet:
    """What is known of all stations. Any thread may call any method; `lock` guards the rest.

    Args:
        settings: lines, shifts, how far back.
        now: the present, in UTC seconds.
    """

    def __init__(self, settings: Settings, now: Callable[[], float]) -> None:
        self.settings = settings
        self.lock = threading.Lock()
        self._now = now
        self._look_back_s = settings.look_back_days * 86_400
        self._handlers: dict[str, Callable[[Station, float, Any], None]] = {
            kinds.FRAME_REJECTED: self._rejected,
            kinds.FRAME_JUDGED: self._judged,
            kinds.QUALITY_DEGRADED: self._quality,
            kinds.QUALITY_RECOVERED: self._quality,
            kinds.CAMERA_LOST: self._lost,
            kinds.CAMERA_RESTORED: self._restored,
            kinds.EVENTS_DROPPED: self._dropped,
            kinds.STATION_STATUS: self._beat,
            kinds.LINE_FAULT: self._line_fault,
            kinds.LINE_RESTORED: self._line_restored,
        }
        self.clear()

    def clear(self) -> None:
        """Forget everything, to be told anew."""
        with self.lock:
            self.stations: dict[str, Station] = {}
            self.labels: dict[str, int] = {}
            steps = int(self._look_back_s // STEP_S) + 2
            self.ledger = Ledger(steps, FIRST_LABEL + MOST_LABELS)
            self.ledger.advance(step_of(self._now()))
            self.counts: Counter[str] = Counter()
            self.unknown: Counter[str] = Counter()
            self.last_invalid = ""
            self._cameras = 0

    def take(self, documents: Iterable[bytes | None], *, live: bool) -> None:
        """Take records in, as they lie in a partition.

        Args:
            documents: the records' values.
            live: they have just been written; not so while the past is read.
        """
        with self.lock:
            now = self._now()
            self.ledger.advance(step_of(now))
            for document in documents:
                self.counts["records"] += 1
                try:
                    event = parse(document or b"")
                except EventsError as error:
                    self._note_strange(document or b"", str(error))
                    continue
                try:
                    self._take(event, now, live=live)
                except Exception as error:  # noqa: BLE001 - the records after it are to be read
                    self._count_invalid(f"{cut(event.type)}: {error}")

    def tidy(self) -> None:
        """Forget what is older than is looked back: gaps, and stations that were silent so long."""
        with self.lock:
            before = self._now() - self._look_back_s
            for station in self.stations.values():
                for step in [step for step in station.gaps if step < step_of(before)]:
                    del station.gaps[step]
            for name in [n for n, s in self.stations.items() if s.heard_at < before]:
                for camera in self.stations.pop(name).cameras.values():
                    self.ledger.release(camera.row)
                    self._cameras -= 1

    def line_of(self, station: str) -> str:
        """The line that a station belongs to."""
        for line, globs in self.settings.lines.items():
            if any(fnmatch.fnmatchcase(station, glob) for glob in globs):
                return line
        return station

    def _note_strange(self, document: bytes, why: str) -> None:
        try:
            told = json.loads(document)["type"]
        except (ValueError, KeyError, TypeError, RecursionError):
            told = None
        if isinstance(told, str) and told not in MODELS:
            self.counts["unknown"] += 1
            told = cut(told)
            self.unknown[
                told if told in self.unknown or len(self.unknown) < MOST_UNKNOWN else OTHER
            ] += 1
        else:
            self._count_invalid(why)

    def _count_invalid(self, why: str) -> None:
        self.counts["invalid"] += 1
        self.last_invalid = cut(why)

    def _take(self, event: Any, now: float, *, live: bool) -> None:
        data = event.data
        if data.replay:  # somebody asked for it again: no news
            self.counts["replays"] += 1
            return
        station = self._station(data.station)
        if station is None:
            return
        if station.is_repeat(event.id):
            self.counts["repeats"] += 1
            return
        told_at = event.time.timestamp()
        at = max(0.0, min(told_at, now))
        station.ahead_s = max(0.0, told_at - now) if told_at - now > AHEAD_S else 0.0
        station.mode = data.mode
        station.heard_at = max(station.heard_at, now if live else at)
        if at < now - self._look_back_s:
            self.counts["too_old"] += 1
        handler = self._handlers.get(event.type)
        if handler is not None:
            handler(station, at, event)

    def _station(self, name: str) -> Station | None:
        station = self.stations.get(name)
        if station is not None:
            return station
        if not _NAME.fullmatch(name):
            self._count_invalid(f"no name of a station: {name}")
            return None
        if len(self.stations) >= MOST_STATIONS:
            self.counts["beyond_bounds"] += 1
            return None
        station = self.stations[name] = Station(name, self.line_of(name))
        return station

    def _camera(self, station: Station, name: str) -> Camera | None:
        camera = station.cameras.get(name)
        if camera is not None:
            return camera
        if not _NAME.fullmatch(name) or self._cameras >= MOST_CAMERAS:
            self.counts["beyond_bounds"] += 1
            return None
        self._cameras += 1
        camera = station.cameras[name] = Camera(self.ledger.row())
        return camera

    def _column(self, label: str | None) -> int:
        label = label or OTHER
        column = self.labels.get(label)
        if column is None:
            if len(label) > 63 or len(self.labels) >= MOST_LABELS - 1:  # noqa: PLR2004 - of a name
                label = OTHER
            column = self.labels.setdefault(label, FIRST_LABEL + len(self.labels))
        return column

    # --- one method a type of event -------------------------------------------------------------

    def _rejected(self, station: Station, at: float, event: Any) -> None:
        data = event.data
        camera = self._camera(station, data.camera)
        if camera is None:
            return
        frame = (data.stream_epoch, data.sequence)
        if frame == camera.frame:
            return
        camera.frame = frame
        camera.reject_at, camera.label = at, data.label and cut(data.label)
        step = step_of(at)
        self.ledger.add(camera.row, step, REJECTED)
        self.ledger.add(camera.row, step, self._column(data.label))

    def _judged(self, station: Station, at: float, event: Any) -> None:
        """Rejects and the number of verdicts are counted elsewhere; this tells the rest."""
        column = {"uncertain": UNCERTAIN, "unjudgeable": UNJUDGEABLE}.get(event.data.verdict)
        if column is None:
            return
        camera = self._camera(station, event.data.camera)
        if camera is not None:
            self.ledger.add(camera.row, step_of(at), column)

    def _quality(self, station: Station, at: float, event: Any) -> None:
        camera = self._camera(station, event.data.camera)
        if camera is not None:
            camera.tell_degraded(at, degraded=event.type == kinds.QUALITY_DEGRADED)

    def _lost(self, station: Station, at: float, event: Any) -> None:
        camera = self._camera(station, event.data.camera)
        if camera is not None:
            camera.event(at, gone=True, cause=event.data.cause, detail=event.data.detail)

    def _restored(self, station: Station, at: float, event: Any) -> None:
        camera = self._camera(station, event.data.camera)
        if camera is not None:
            camera.event(at, gone=False)

    def _dropped(self, station: Station, at: float, event: Any) -> None:
        step = step_of(at)
        if step >= self.ledger.oldest:
            before, _ = station.gaps.get(step, (0, ""))
            station.gaps[step] = before + (event.data.count or 0), cut(event.data.cause)

    def _line_fault(self, station: Station, at: float, event: Any) -> None:
        station.tell_fault(event.data.cause, event.data.camera, at, event.data.detail)

    def _line_restored(self, station: Station, _at: float, event: Any) -> None:
        station.end_fault(event.data.cause, event.data.camera)

    def _beat(self, station: Station, at: float, event: Any) -> None:
        before = station.take_beat(at, event.data)
        for name, entry in event.data.cameras.items():
            camera = self._camera(station, name)
            if camera is None:
                continue
            extra = entry.model_extra or {}
            cause = extra.get("cause")
            camera.beat(at, entry.state, cause if isinstance(cause, str) else None)
            if entry.quality is not None:
                camera.tell_degraded(at, degraded=entry.quality == "degraded")
            self._count_judged(camera, entry.judged, at, before, station)

    def _count_judged(
        self, camera: Camera, judged: int | None, at: float, before: Beat | None, station: Station
    ) -> None:
        """Frames judged since the last heartbeat, spread over the time since then."""
        last, camera.judged = camera.judged, judged
        if judged is None:
            return
        beat = station.beat
        if before is not None and last is not None and judged >= last:
            begin, count = before.at, judged - last
        elif beat is not None and at - beat.uptime_s >= self.ledger.oldest * STEP_S:
            begin, count = at - beat.uptime_s, judged  # a new run, or a camera that is new in it
        else:
            return  # it began before what is looked back on: nobody knows when it judged these
        first, end = max(step_of(begin), self.ledger.oldest), step_of(at)
        if first >= end:
            self.ledger.add(camera.row, end, JUDGED, count)
            return
        length, done = max(at - begin, 1e-9), 0
        for step in range(first, end + 1):
            share = 1.0 if step == end else ((step + 1) * STEP_S - begin) / length
            until = min(count, int(count * share))
            self.ledger.add(camera.row, step, JUDGED, until - done)
            done = until
