"""What differs between two station files, and what it takes."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from inspector.config.changes import Plan, plan
from inspector.config.station import Station

FILE: dict[str, Any] = {
    "version": 1,
    "station": "packing-07",
    "cameras": {
        "a": {"source": {"kind": "pattern"}},
        "b": {
            "source": {"kind": "rtsp", "url": "rtsp://10.0.0.21/s?pwd=hunter2"},
            "credentials": {"username": "CAM_U", "password": "CAM_P"},
        },
    },
    "policies": {"strict": {"needed": 1, "window": 1}},
}


def planned(change: Any, new_logins: tuple[str, ...] = ()) -> Plan:
    """The plan from FILE to what `change` makes of a copy."""
    new = copy.deepcopy(FILE)
    change(new)
    return plan(Station.model_validate(FILE), Station.model_validate(new), new_logins)


def told(found: Plan) -> list[str]:
    return [str(change) for change in found.changes]


def test_order_and_defaults_that_are_written_down_are_no_change() -> None:
    def change(file: dict[str, Any]) -> None:
        file["cameras"] = dict(reversed(file["cameras"].items()))
        file["cameras"]["a"]["slots"] = 6
        file["policies"]["default"] = {"needed": 3}
        file["web"] = {"listen": "127.0.0.1:8787"}

    assert planned(change) == Plan(())


def test_a_camera_that_comes_and_one_that_goes() -> None:
    def change(file: dict[str, Any]) -> None:
        file["cameras"]["c"] = file["cameras"].pop("a")

    found = planned(change)
    assert (found.added, found.removed, found.restarted) == (("c",), ("a",), ())
    assert told(found) == ["cameras.a: removed", "cameras.c: added"]
    assert found.changes[1].new["source"]["kind"] == "pattern"
    assert found.fixed == ()


LINE = {"modbus": {"host": "10.0.0.5"}}


def test_cameras_whose_blocks_the_plc_reads_come_and_go_with_a_restart_only() -> None:
    old = Station.model_validate(FILE | {"line": LINE})
    cameras = FILE["cameras"]
    without_a = Station.model_validate(FILE | {"line": LINE, "cameras": {"b": cameras["b"]}})
    found = plan(old, without_a)
    assert [str(change) for change in found.fixed] == [
        'line.cameras: {"a": 32, "b": 64} → {"b": 32}'
    ]
    turned = Station.model_validate(
        FILE | {"line": LINE, "cameras": dict(reversed(cameras.items()))}
    )
    assert [change.new for change in plan(old, turned).fixed] == [{"b": 32, "a": 64}]


def test_a_camera_that_is_not_signalled_comes_and_goes_freely() -> None:
    line = LINE | {"cameras": {"b": {}}}
    old = Station.model_validate(FILE | {"line": line})
    new = Station.model_validate(
        FILE | {"line": line, "cameras": {"b": FILE["cameras"]["b"], "c": FILE["cameras"]["a"]}}
    )
    found = plan(old, new)
    assert (found.added, found.removed, found.fixed) == (("c",), ("a",), ())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("slots", 8),
        ("inspect", {"every_s": 1}),
        ("region", {"x": 0, "y": 0, "width": 64, "height": 64}),
        ("max_age_s", 2),
        ("max_megapixels", 4),
        ("source", {"kind": "video", "path": "/clip.mp4"}),
    ],
)
def test_what_a_worker_knows_takes_a_new_worker_of_that_camera_alone(key: str, value: Any) -> None:
    found = planned(lambda file: file["cameras"]["a"].update({key: value}))
    assert found.restarted == ("a",)
    assert found.changes
    assert all(change.key[:3] == ("cameras", "a", key) for change in found.changes)
    assert not found.fixed


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"camera_delay_ms": 80}, ["cameras.a.camera_delay_ms: 0.0 → 80.0"]),
        ({"inspect": {"deadline_ms": 300}}, ["cameras.a.inspect.deadline_ms: 1000.0 → 300.0"]),
    ],
)
def test_what_a_worker_does_not_use_disturbs_none(change: Any, said: list[str]) -> None:
    found = planned(lambda file: file["cameras"]["a"].update(change))
    assert (found.added, found.removed, found.restarted, found.fixed) == ((), (), (), ())
    assert told(found) == said


def test_a_deadline_that_comes_with_another_reason_to_judge_takes_a_new_worker() -> None:
    change = {"inspect": {"deadline_ms": 300, "on_trigger": True}}
    assert planned(lambda file: file["cameras"]["a"].update(change)).restarted == ("a",)


def test_policies_disturb_no_worker() -> None:
    def change(file: dict[str, Any]) -> None:
        file["cameras"]["a"]["policy"] = "strict"
        file["policies"]["default"] = {"needed": 2}
        file["policies"]["strict"]["reject"] = ["wn"]

    found = planned(change)
    assert (found.added, found.removed, found.restarted, found.fixed) == ((), (), (), ())
    assert told(found) == [
        'cameras.a.policy: "default" → "strict"',
        'policies.strict.reject: "all" → ["wn"]',
        "policies.default.needed: 3 → 2",
    ]


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"station": "packing-08"}, ("station",)),
        ({"mode": "observe"}, ("mode",)),
        ({"state": "/elsewhere"}, ("state",)),
        ({"engine": {"max_batch": 2}}, ("engine", "max_batch")),
        ({"events": {"kafka": {"bootstrap_servers": ["k:9092"]}}}, ("events", "kafka")),
        ({"events": {"outbox": {"max_mb": 5}}}, ("events", "outbox", "max_mb")),
        ({"web": {"listen": "127.0.0.1:1"}}, ("web", "listen")),
    ],
)
def test_all_other_sections_hold_until_a_restart(change: Any, key: tuple[str, ...]) -> None:
    found = planned(lambda file: file.update(change))
    assert [each.key for each in found.fixed] == [key]


def test_other_secrets_take_a_new_worker_and_are_not_shown() -> None:
    found = planned(lambda file: None, new_logins=("b",))
    assert found.restarted == ("b",)
    assert told(found) == ['cameras.b.credentials: "the secrets as they were" → "other secrets"']


def test_a_password_in_an_address_is_shown_to_nobody() -> None:
    def change(file: dict[str, Any]) -> None:
        file["cameras"]["b"]["source"]["url"] = "rtsp://10.0.0.22/s?pwd=hunter3"

    found = planned(change)
    assert told(found) == [
        'cameras.b.source.url: "rtsp://10.0.0.21/s?pwd=***" → "rtsp://10.0.0.22/s?pwd=***"'
    ]
    gone = planned(lambda file: file["cameras"].pop("b"))
    documents = [change.document() for change in (*found.changes, *gone.changes)]
    assert "hunter" not in json.dumps(documents)
