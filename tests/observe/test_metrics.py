"""Metrics of what is not there: a figure that would be untrue is left out."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from inspector.observe.metrics import Metrics


def samples(name: str, **status: Any) -> list[tuple[dict[str, str], float]]:
    """Labels and values of one metric of a station."""
    whole = {
        "cameras": {},
        "engines": {},
        "broker": {"state": "off"},
        "outbox": None,
        "free_bytes": 10**9,
        **status,
    }
    text = Metrics(lambda: whole).exposition().decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    return [(sample.labels, sample.value) for sample in families[name].samples]


def camera(state: str) -> dict[str, Any]:
    counters = {"frames_in": 3, "judged": 3, "dropped": {}, "in_flight": 0, "parts": 0}
    return {
        "state": state,
        "quality": "good",
        "counters": counters,
        "restarts": {},
        "on_motion": False,
    }


def test_a_file_at_its_end_is_no_camera_that_is_lost() -> None:
    cameras = {state: camera(state) for state in ("running", "lost", "ended")}
    up = samples("inspector_camera_up", cameras=cameras)
    assert up == [({"camera": "running"}, 1), ({"camera": "lost"}, 0)]
    counted = samples("inspector_frames", cameras={"clip": camera("ended")})
    assert ({"camera": "clip", "result": "judged"}, 3) in counted


@pytest.mark.parametrize(
    ("evidence_bytes", "state_bytes", "told"), [(5, None, 5), (None, 7, 7), (None, None, None)]
)
def test_a_disk_that_does_not_say_how_much_is_free_is_not_a_full_one(
    evidence_bytes: int | None, state_bytes: int | None, told: int | None
) -> None:
    evidence = {"free_bytes": evidence_bytes, "fault": None, "cameras": {}}
    free = samples("inspector_evidence_free_bytes", evidence=evidence, free_bytes=state_bytes)
    assert [value for _, value in free] == ([] if told is None else [told])
