"""Cameras that judge on triggers: whether their deadline can be met, by what was measured."""

from __future__ import annotations

from inspector.doctor.deadlines import deadlines
from inspector.doctor.finding import Finding, Grade
from tests.doctor.conftest import PATTERN


def camera(**more):
    return {"source": {"kind": "rtsp", "url": "rtsp://h/1"}, **more}


def on_trigger(deadline_ms, **more):
    return camera(inspect={"on_trigger": True, "deadline_ms": deadline_ms}, **more)


def seen(name, fps, *, live=True):
    return Finding("camera", name, Grade.GOOD, "", facts={"fps": fps, "live": live})


def engine(stage, frames_per_s):
    facts = {"stage": stage, "frames_per_s": frames_per_s}
    return Finding("engine", stage, Grade.GOOD, "", facts=facts)


def test_delay_picture_and_verdict_must_fit(station):
    config = station(
        cameras={
            "enough": on_trigger(400, camera_delay_ms=200),
            "late": on_trigger(300, camera_delay_ms=200),
            "slow": on_trigger(900),
            "always": camera(camera_delay_ms=200),
        }
    )
    findings = [
        *(seen(name, 10.0) for name in ("enough", "late", "always")),
        seen("slow", 1.0),
        engine("screen", 50.0),
    ]
    enough, late, slow = deadlines(config, findings)
    assert (enough.subject, enough.name, enough.grade) == ("trigger", "enough", Grade.GOOD)
    assert enough.facts == {"needed_ms": 325.0, "deadline_ms": 400.0}
    assert (late.name, late.grade, late.facts["needed_ms"]) == ("late", Grade.MISTAKE, 325.0)
    assert late.remedy == "raise inspect.deadline_ms to 390"
    assert late.expected == "at most 300 ms (inspect.deadline_ms)"
    assert "200 ms camera_delay_ms, up to 100 ms to the next picture" in late.found
    assert slow.grade is Grade.MISTAKE
    assert slow.remedy.endswith("or have the camera give more pictures a second")


def test_the_confirming_engine_counts_up_to_its_own_bound(station):
    asked = {"screen": "tiny", "confirm": "tiny", "confirm_within_ms": 150, "max_delay_ms": 0}
    config = station(engine=asked, cameras={"a": on_trigger(500)})
    quick = [seen("a", 10.0), engine("screen", 100.0), engine("confirm", 20.0)]
    assert next(deadlines(config, quick)).facts["needed_ms"] == 160.0
    slow = [seen("a", 10.0), engine("screen", 100.0), engine("confirm", 1.0)]
    assert next(deadlines(config, slow)).facts["needed_ms"] == 260.0


def test_what_was_not_measured_is_not_judged(station):
    config = station(
        cameras={name: on_trigger(500) for name in ("few", "lost", "files")}
        | {"belt": {"source": PATTERN, "inspect": {"on_trigger": True}}}
    )
    lost = Finding("camera", "lost", Grade.MEND, "", facts={"state": "lost"})
    (few,) = deadlines(config, [seen("few", None), lost, seen("files", 5.0, live=False)])
    assert (few.name, few.grade, few.remedy) == ("few", Grade.NOTE, "look for more --seconds")
    (belt,) = deadlines(config, [seen("belt", 10.0)])
    assert belt.facts["needed_ms"] == 105.0, "without an engine's speed the rest counts alone"
