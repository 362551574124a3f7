"""Whether the engine keeps up with the cameras, from what was measured of both. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inspector.doctor.finding import Finding, Grade

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from inspector.config.station import Station

_SPARE = 0.8
"""The engine shares the box with decoding: beyond this part of its speed frames are left out."""


def capacity(station: Station, findings: Sequence[Finding]) -> Iterator[Finding]:
    """Hold the frames that live cameras want judged against what the screen judges alone.

    Nothing is said where either was not measured. Cameras that are judged part by part count for
    nothing: how often parts come is not known here.
    """
    able = [f.facts["frames_per_s"] for f in findings if f.facts.get("stage") == "screen"]
    wanted = [
        due_per_s(f.facts["fps"], station.cameras[f.name].inspect.every_s)
        for f in findings
        if f.subject == "camera" and f.facts.get("live") and f.facts.get("fps")
        if not station.cameras[f.name].inspect.part_by_part
    ]
    if not able or not wanted:
        return
    limit, need = able[0], sum(wanted)
    keeps_up = need <= _SPARE * limit
    yield Finding(
        "engine",
        "capacity",
        Grade.GOOD if keeps_up else Grade.MEND,
        f"cameras want {need:.1f} frames a second judged, the screen judges {limit:.0f}",
        f"at most {_SPARE:.0%} of what the screen judges alone",
        "" if keeps_up else "set inspect.every_s of the cameras: frames beyond it are superseded",
        {"wanted_per_s": round(need, 2), "able_per_s": limit},
    )


def due_per_s(fps: float, every_s: float) -> float:
    """Frames a second that are due of a camera.

    >>> due_per_s(25.0, 0.2), due_per_s(2.0, 0.2), due_per_s(25.0, 0.0)
    (5.0, 2.0, 25.0)
    """
    return fps if every_s <= 0 else min(fps, 1 / every_s)
