"""Whether triggers can be answered in time, from what was measured of cameras and engine. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inspector.doctor.finding import Finding, Grade

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from inspector.config.cameras import Camera
    from inspector.config.station import Station


def deadlines(station: Station, findings: Sequence[Finding]) -> Iterator[Finding]:
    """Hold what a trigger waits for against its deadline, for each camera that judges on triggers.

    Nothing is said of cameras whose rate was not measured and that are not live.
    """
    rates = {f.facts["stage"]: f.facts["frames_per_s"] for f in findings if "stage" in f.facts}
    judge_ms = _judge_ms(station, rates)
    for found in findings:
        camera = station.cameras.get(found.name) if found.subject == "camera" else None
        if camera is None or not camera.inspect.on_trigger or not found.facts.get("live"):
            continue
        fps = found.facts.get("fps")
        if fps:
            yield deadline_finding(found.name, camera, fps, judge_ms)
        else:
            said = "too few pictures to tell how long a trigger waits for one"
            yield Finding("trigger", found.name, Grade.NOTE, said, remedy="look for more --seconds")


def _judge_ms(station: Station, rates: dict[str, float]) -> float:
    """From a frame to its verdict where nothing else is in work, with the confirming engine's."""
    asked = station.engine
    screen_ms = 1e3 / rates["screen"] if rates.get("screen") else 0.0
    confirm_ms = 1e3 / rates["confirm"] if rates.get("confirm") else 0.0
    return asked.max_delay_ms + screen_ms + min(confirm_ms, asked.confirm_within_ms)


def deadline_finding(name: str, camera: Camera, fps: float, judge_ms: float) -> Finding:
    """What a trigger waits for at most: the camera's delay, then a picture, then its verdict. Pure.

    Args:
        fps: pictures a second, as measured.
        judge_ms: from a picture to its verdict.
    """
    deadline, delay, period = camera.inspect.deadline_ms, camera.camera_delay_ms, 1e3 / fps
    needed = delay + period + judge_ms
    late = needed > deadline
    remedy = f"raise inspect.deadline_ms to {needed * 1.2:.0f}"
    if period > deadline / 2:
        remedy = f"{remedy}, or have the camera give more pictures a second"
    return Finding(
        "trigger",
        name,
        Grade.MISTAKE if late else Grade.GOOD,
        f"a verdict may take {needed:.0f} ms: {delay:g} ms camera_delay_ms, up to {period:.0f} ms "
        f"to the next picture ({fps:.1f} a second), {judge_ms:.0f} ms to judge",
        f"at most {deadline:g} ms (inspect.deadline_ms)",
        remedy if late else "",
        {"needed_ms": round(needed, 1), "deadline_ms": deadline},
    )
