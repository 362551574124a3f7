"""What the page shows, as one JSON-able document."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from inspector.fleet.drift import HOURS_NOW, find_drifts
from inspector.fleet.fleet import FIRST_LABEL, JUDGED, REJECTED, UNCERTAIN, UNJUDGEABLE
from inspector.fleet.ledger import STEPS_AN_HOUR, step_of
from inspector.fleet.shifts import shifts_until

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from inspector.fleet.fleet import Fleet
    from inspector.fleet.stations import Camera, Station

SHIFTS = 4
"""The present one and those before it, as far as they are looked back on."""
MOST_DRIFTS = 50
JITTER_S = 2.0
"""What a heartbeat may be late by itself."""
WORDS = ("quiet", "not ready", "trouble", "serving")
"""States of a station, the worst first."""

Totals = list["NDArray[np.int64]"]


def board(fleet: Fleet, now: float, back_at: float = 0.0) -> dict[str, Any]:
    """Lines and shifts, labels, stations: everything but drift.

    Args:
        now: UTC seconds up to which the topics have been read.
        back_at: when the broker was last found again; nobody can be quiet from before that.
    """
    with fleet.lock:
        oldest = max(fleet.ledger.oldest, step_of(now - fleet.settings.look_back_days * 86_400) + 1)
        shifts = [
            shift
            for shift in shifts_until(now, fleet.settings.shifts, SHIFTS)
            if shift.end > oldest
        ]
        totals = [fleet.ledger.total(shift.begin, shift.end) for shift in shifts]
        stations = [_station(fleet, station, now, back_at) for station in fleet.stations.values()]
        stations += _never_heard(fleet)
        stations.sort(key=lambda told: (WORDS.index(told["state"]), told["line"], told["station"]))
        return {
            "shifts": [shift.document(oldest) for shift in shifts],
            "zone": fleet.settings.shifts.zone,
            "lines": _lines(fleet, totals),
            "stations": stations,
            "counts": dict(fleet.counts),
            "unknown": dict(fleet.unknown),
            "last_invalid": fleet.last_invalid,
            "look_back_days": fleet.settings.look_back_days,
        }


def drifts(fleet: Fleet, now: float) -> dict[str, Any]:
    """Labels whose rate has changed; slower than the board, and needs no second's haste."""
    with fleet.lock:
        end = step_of(now) + 1
        hours = (end - fleet.ledger.oldest) // STEPS_AN_HOUR
        window = fleet.ledger.window(end - hours * STEPS_AN_HOUR, end)
        labels = {column: label for label, column in fleet.labels.items()}
        names = {
            camera.row: (station.line, station.name, name)
            for station in fleet.stations.values()
            for name, camera in station.cameras.items()
        }
    rows, _, columns = window.shape
    by_hour = window.reshape(rows, hours, STEPS_AN_HOUR, columns).sum(axis=2, dtype=np.int64)
    found = find_drifts(by_hour[:, :, JUDGED], by_hour[:, :, FIRST_LABEL:])
    told = []
    for one in found.found[:MOST_DRIFTS]:
        if one.row in names:
            line, station, camera = names[one.row]
            told.append(
                {
                    "line": line,
                    "station": station,
                    "camera": camera,
                    "label": labels[FIRST_LABEL + one.label],
                    "now": one.now,
                    "before": one.before,
                    "factor": one.factor,
                    "low": one.low,
                    "high": one.high,
                }
            )
    return {
        "found": told,
        "more": max(0, len(found.found) - MOST_DRIFTS),
        "cameras": found.cameras,
        "too_little": found.too_little,
        "hours_now": HOURS_NOW,
        "hours_before": max(0, hours - HOURS_NOW),
    }


def _lines(fleet: Fleet, totals: Totals) -> list[dict[str, Any]]:
    members: dict[str, list[Station]] = {line: [] for line in fleet.settings.lines}
    for station in fleet.stations.values():
        members.setdefault(station.line, []).append(station)
    lines = []
    for line, stations in members.items():
        rows = [camera.row for station in stations for camera in station.cameras.values()]
        sums = [total[rows].sum(axis=0) for total in totals]
        lines.append(
            {
                "line": line,
                "stations": len(stations),
                "shifts": [_counts(fleet, total) for total in sums],
            }
        )
    lines.sort(key=lambda told: str(told["line"]))
    return lines


def _counts(fleet: Fleet, total: NDArray[np.int64]) -> dict[str, Any]:
    return {
        "judged": int(total[JUDGED]),
        "rejected": int(total[REJECTED]),
        "uncertain": int(total[UNCERTAIN]),
        "unjudgeable": int(total[UNJUDGEABLE]),
        "labels": {
            label: int(total[column]) for label, column in fleet.labels.items() if total[column]
        },
    }


def _station(fleet: Fleet, station: Station, now: float, back_at: float) -> dict[str, Any]:
    silent_s = station.silent_s(now, back_at)
    quiet = silent_s > fleet.settings.quiet_after * station.interval_s + JITTER_S
    beat = station.beat
    cameras = [_camera(name, camera) for name, camera in station.shown_cameras()]
    lost = [name for name, camera in station.shown_cameras() if camera.is_gone]
    degraded = [told["camera"] for told in cameras if told["degraded"]]
    fallback = bool(beat and beat.engine and beat.engine["degraded"])
    reasons = station.reasons
    if quiet:
        word = "quiet"
    elif beat is not None and not beat.ready:
        word = "not ready"
    elif reasons or lost or degraded or fallback or station.ahead_s or station.line_faults:
        word = "trouble"
    else:
        word = "serving"
    return {
        "station": station.name,
        "line": station.line,
        "state": word,
        "mode": station.mode,
        "version": beat.version if beat else None,
        "engine": beat.engine if beat else None,
        "reasons": reasons,
        "waiting": beat.waiting if beat else None,
        "up_since": _utc(beat.at - beat.uptime_s) if beat else None,
        "heard": _utc(station.heard_at),
        "silent_s": round(silent_s, 1),
        "interval_s": round(station.interval_s, 3),
        "cameras": cameras,
        "lost": lost,
        "degraded": degraded,
        "given_up": station.given_up,
        "given_up_cause": station.given_up_cause,
        "clock_ahead_s": round(station.ahead_s),
        "line_faults": [text for _, text in station.line_faults.values()],
    }


def _camera(name: str, camera: Camera) -> dict[str, Any]:
    cause, detail, since = camera.why
    return {
        "camera": name,
        "state": camera.state,
        "cause": cause,
        "detail": detail,
        "since": None if since is None else _utc(since),
        "degraded": camera.degraded,
        "last_reject": _utc(camera.reject_at) if camera.reject_at else None,
        "last_label": camera.label,
    }


def _never_heard(fleet: Fleet) -> list[dict[str, Any]]:
    """Stations that the file names in full, and of which there is no event."""
    told: list[dict[str, Any]] = []
    for line, globs in fleet.settings.lines.items():
        for name in globs:
            if name in fleet.stations or set(name) & set("*?["):
                continue
            told.append(
                {
                    "station": name,
                    "line": line,
                    "state": "quiet",
                    "mode": None,
                    "version": None,
                    "engine": None,
                    "reasons": [],
                    "waiting": None,
                    "up_since": None,
                    "heard": None,
                    "silent_s": None,
                    "interval_s": None,
                    "cameras": [],
                    "lost": [],
                    "degraded": [],
                    "given_up": 0,
                    "given_up_cause": "",
                    "clock_ahead_s": 0,
                    "line_faults": [],
                }
            )
    return told


def _utc(seconds: float) -> str:
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
    return text.replace("+00:00", "Z")
