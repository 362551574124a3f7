"""The alert rules, by Prometheus' own tool: each fires when it should, and not before."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "configs" / "prometheus"
RULES = FOLDER / "inspector.rules.yml"
WHO = {"instance": "box:8787", "station": "packing-07", "line": "line-7"}
CAMERA = {**WHO, "camera": "infeed"}


def promtool(*arguments: str) -> str:
    """Run it; its output is the message where it is not content."""
    if shutil.which("promtool") is None:
        pytest.fail("promtool is not installed: make test installs Debian's prometheus")
    run = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def alerts() -> list[dict]:
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


def series(name: str, values: str, **labels: str) -> dict[str, str]:
    inside = ", ".join(f'{key}="{value}"' for key, value in labels.items())
    return {"series": f"{name}{{{inside}}}", "values": values}


def of_station(name: str, values: str, **more: str) -> dict[str, str]:
    return series(name, values, **WHO, job="inspector", **more)


def of_camera(name: str, values: str, **more: str) -> dict[str, str]:
    return series(name, values, **CAMERA, job="inspector", **more)


def of_box(box: str, name: str, values: str) -> dict[str, str]:
    """One of several processes of the same signaller."""
    return series(name, values, **{**WHO, "instance": box}, job="inspector")


def verdicts(good: str, bad: str) -> list[dict[str, str]]:
    return [
        of_camera("inspector_verdicts_total", good, verdict="accepted", label="refimgs"),
        of_camera("inspector_verdicts_total", bad, verdict="rejected", label="gblur"),
    ]


@dataclass(frozen=True)
class Case:
    """What makes an alert fire `at`, and what is near to it and does not.

    Series are one value a minute; each of `quiet` is a world of its own.
    """

    alert: str
    at: str
    fires: list[dict[str, str]]
    quiet: list[list[dict[str, str]]]
    until: str = "1h"


AT_ONCE = {"InspectorLineAway", "InspectorLineSafe"}


def gauge(alert: str, name: str, fine: str, wrong: str, at: str, **more: str) -> Case:
    """Wrong for long enough; always fine; wrong for a minute only, where that is not enough."""
    make = of_camera if "camera" in name else of_station
    return Case(
        alert,
        at,
        [make(name, f"{wrong}x60", **more)],
        [[make(name, f"{fine}x60", **more)]]
        + [[make(name, f"{fine}x20 {wrong}x0 {fine}x30", **more)]] * (alert not in AT_ONCE),
    )


def counter(alert: str, name: str, at: str, **more: str) -> Case:
    """Rises; stands where it is."""
    make = of_camera if more.pop("of", "") == "camera" else of_station
    return Case(
        alert,
        at,
        [make(name, "7x20 9x30", **more)],
        [[make(name, "7x60", **more)]],
    )


UP = of_station("up", "1x60")
OUTAGE = "x20 stale _x4"
"""Prometheus does not reach the station for some minutes: all its series are gone, but for `up`."""
UP_AFTER_OUTAGE = of_station("up", "1x20 0x5 1x40")
BROKER = of_station("inspector_broker_up", "0x60")
YESTERDAY = 1440
JUMPS_AT = f"{YESTERDAY + 25}m"
ACCEPTED = {"verdict": "accepted", "label": "refimgs"}
DAMAGED = {"verdict": "unjudgeable", "label": "decode"}
LINE_FAULT = {"of": "camera", "cause": "no_acknowledge"}

CASES = [
    gauge("InspectorStationDown", "up", "1", "0", "5m"),
    gauge("InspectorNotReady", "inspector_ready", "1", "0", "10m"),
    gauge("InspectorLoopStands", "inspector_loop_idle_seconds", "1", "12", "5m", loop="judge"),
    gauge("InspectorDegraded", "inspector_degraded", "0", "1", "15m"),
    Case(
        "InspectorDegraded",  # a plan is built for the first time: nobody can do anything
        "45m",
        [
            of_station("inspector_degraded", "1x60"),
            of_station("inspector_plan_building", "1x29 0x30"),
        ],
        [
            [
                of_station("inspector_degraded", "1x60"),
                of_station("inspector_plan_building", "1x60"),
            ]
        ],
    ),
    gauge("InspectorCameraLost", "inspector_camera_up", "1", "0", "5m"),
    gauge("InspectorCameraDegraded", "inspector_camera_degraded", "0", "1", "10m"),
    gauge("InspectorBrokerAway", "inspector_broker_up", "1", "0", "10m"),
    gauge("InspectorTopicBlocked", "inspector_topics_blocked", "0", "2", "10m"),
    gauge("InspectorOutboxUnwritable", "inspector_outbox_writable", "1", "0", "5m"),
    gauge("InspectorEvidenceUnwritable", "inspector_evidence_writable", "1", "0", "10m"),
    gauge("InspectorEvidenceSpace", "inspector_evidence_free_bytes", "2e9", "8e8", "15m"),
    gauge("InspectorLineAway", "inspector_line_up", "1", "0", "5m"),
    gauge("InspectorLineSafe", "inspector_line_safe", "0", "1", "5m"),
    Case(
        "InspectorEventsLost",
        "25m",
        [BROKER, of_station("inspector_shed_total", "7x20 9x30")],
        [
            [BROKER, of_station("inspector_shed_total", "7x60")],
            [of_station("inspector_shed_total", "0+7x60")],  # no broker is wanted
        ],
    ),
    counter("InspectorEventsParked", "inspector_parked_total", "25m"),
    counter("InspectorLineNoAcknowledge", "inspector_line_faults_total", "23m", **LINE_FAULT),
    counter("InspectorSignalsLate", "inspector_signals_late_total", "25m", of="camera"),
    counter("InspectorSignalsGaveWay", "inspector_signals_gave_way_total", "25m", of="camera"),
    Case(
        "InspectorLineNoAcknowledge",  # the very first fault makes the series
        "21m",
        [UP, of_camera("inspector_line_faults_total", "_x20 1x30", cause="no_acknowledge")],
        [
            [UP, of_camera("inspector_line_faults_total", "1+1x60", cause="queue_full")],
            # It was there before Prometheus was.
            [UP, of_camera("inspector_line_faults_total", "1x60", cause="no_acknowledge")],
            [
                UP_AFTER_OUTAGE,
                of_camera("inspector_line_faults_total", f"3{OUTAGE} 3x40", cause="no_acknowledge"),
            ],
        ],
    ),
    Case(
        "InspectorSignalsLate",
        "21m",
        [UP, of_camera("inspector_signals_late_total", "_x20 1x30")],
        [
            [UP, of_camera("inspector_signals_late_total", "0x60")],
            [UP_AFTER_OUTAGE, of_camera("inspector_signals_late_total", f"3{OUTAGE} 3x40")],
        ],
    ),
    Case(
        "InspectorSignalsGaveWay",
        "21m",
        [UP, of_camera("inspector_signals_gave_way_total", "_x20 1x30")],
        [[UP_AFTER_OUTAGE, of_camera("inspector_signals_gave_way_total", f"3{OUTAGE} 3x40")]],
    ),
    Case(
        "InspectorLineAway",  # of two signallers one stands by, and has no session
        "5m",
        [of_station("inspector_line_up", "0x60"), of_station("inspector_line_active", "1x60")],
        [[of_station("inspector_line_up", "0x60"), of_station("inspector_line_active", "0x60")]],
    ),
    Case(
        "InspectorSignallerIdle",
        "5m",
        [of_station("inspector_line_active", "1x60"), of_station("inspector_broker_up", "0x60")],
        [
            [
                of_station("inspector_line_active", "1x60"),
                of_station("inspector_broker_up", "1x60"),
            ],
            [of_station("inspector_broker_up", "0x60")],  # a station, which has no such metric
            [
                *(
                    of_box(box, "inspector_line_active", of)
                    for box, of in (("a", "1x60"), ("b", "0x60"))
                ),
                *(of_box(box, "inspector_broker_up", "1x60") for box in "ab"),
            ],
        ],
    ),
    counter("InspectorRejectsTooOld", "inspector_line_old_total", "25m", of="camera"),
    Case(
        "InspectorRejectsTooOld",
        "21m",
        [UP, of_camera("inspector_line_old_total", "_x20 1x30")],
        [
            [UP, of_camera("inspector_line_signals_total", "0+5x60", end="acknowledged")],
            [UP_AFTER_OUTAGE, of_camera("inspector_line_old_total", f"3{OUTAGE} 3x40")],
        ],
    ),
    Case(
        "InspectorRejectsTooOld",
        "21m",
        [UP, of_camera("inspector_line_signals_total", "_x20 1x30", end="too_late")],
        [
            [
                UP_AFTER_OUTAGE,
                of_camera("inspector_line_signals_total", f"3{OUTAGE} 3x40", end="too_late"),
            ]
        ],
    ),
    Case(
        "InspectorRestarts",
        "50m",
        [of_station("process_start_time_seconds", "0x9 600x9 1200x9 1800x30")],
        [[of_station("process_start_time_seconds", "0x20 1200x40")]],
    ),
    Case(
        "InspectorCameraUnstable",
        "50m",
        [
            of_camera("inspector_reconnects_total", "0+0.1x60", cause="timeout"),
            of_camera("inspector_reconnects_total", "0+0.1x60", cause="stalled"),
        ],
        [[of_camera("inspector_reconnects_total", "0+0.05x60", cause="timeout")]],
    ),
    Case(
        "InspectorRejectRateJump",
        JUMPS_AT,
        verdicts(f"0+297x{YESTERDAY} 427680+240x40", f"0+3x{YESTERDAY} 4320+60x40"),
        [
            verdicts(f"0+297x{YESTERDAY + 40}", f"0+3x{YESTERDAY + 40}"),
            # Bad all along: no jump.
            verdicts(f"0+240x{YESTERDAY + 40}", f"0+60x{YESTERDAY + 40}"),
            # Half as much again is no jump.
            verdicts(f"0+270x{YESTERDAY} 388800+255x40", f"0+30x{YESTERDAY} 43200+45x40"),
            # Two of thirty after one of a hundred: chance.
            verdicts(f"0+1.98x{YESTERDAY} 2851+1.9x40", f"0+0.02x{YESTERDAY} 28.8+0.1x40"),
        ],
        until=f"{YESTERDAY + 40}m",
    ),
    Case(
        "InspectorNothingJudged",
        "30m",
        [
            of_camera("inspector_frames_total", "0+300x60", result="in"),
            of_camera("inspector_frames_total", "0+300x60", result="stale"),
            of_camera("inspector_frames_total", "0x60", result="not_due"),
            of_camera("inspector_frames_total", "5x60", result="judged"),
        ],
        [
            [
                of_camera("inspector_frames_total", "0+300x60", result="in"),
                of_camera("inspector_frames_total", "0+299x60", result="stale"),
                of_camera("inspector_frames_total", "0x60", result="not_due"),
                of_camera("inspector_frames_total", "0+1x60", result="judged"),
                of_camera("inspector_verdicts_total", "0+1x60", **ACCEPTED),
            ],
            [  # some of its frames are damaged
                of_camera("inspector_frames_total", "0+300x60", result="in"),
                of_camera("inspector_frames_total", "0x60", result="not_due"),
                of_camera("inspector_frames_total", "0+300x60", result="judged"),
                of_camera("inspector_verdicts_total", "0+299x60", **DAMAGED),
                of_camera("inspector_verdicts_total", "0+1x60", **ACCEPTED),
            ],
            [  # a camera that waits for triggers
                of_camera("inspector_frames_total", "0+300x60", result="in"),
                of_camera("inspector_frames_total", "0+300x60", result="not_due"),
                of_camera("inspector_frames_total", "5x60", result="judged"),
            ],
            [  # a camera that is away
                of_camera("inspector_frames_total", "900x60", result="in"),
                of_camera("inspector_frames_total", "0x60", result="not_due"),
                of_camera("inspector_frames_total", "900x60", result="judged"),
            ],
        ],
    ),
    Case(
        "InspectorNothingJudged",  # each frame has its verdict, and none says anything
        "30m",
        [
            of_camera("inspector_frames_total", "0+300x60", result="in"),
            of_camera("inspector_frames_total", "0x60", result="not_due"),
            of_camera("inspector_frames_total", "0+300x60", result="judged"),
            of_camera("inspector_verdicts_total", "0+300x60", **DAMAGED),
            of_camera("inspector_verdicts_total", "500x60", **ACCEPTED),
        ],
        [
            [
                of_camera("inspector_frames_total", "0+300x60", result="in"),
                of_camera("inspector_frames_total", "0x60", result="not_due"),
                of_camera("inspector_frames_total", "0+300x60", result="judged"),
                *verdicts("0+250x60", "0+50x60"),
            ]
        ],
    ),
    Case(
        "InspectorVerdictsLate",
        "40m",
        [
            of_camera("inspector_frame_age_seconds_bucket", "0+90x60", le="1.0"),
            of_camera("inspector_frame_age_seconds_bucket", "0+100x60", le="2.0"),
            of_camera("inspector_frame_age_seconds_bucket", "0+100x60", le="+Inf"),
        ],
        [
            [
                of_camera("inspector_frame_age_seconds_bucket", "0+999x60", le="0.2"),
                of_camera("inspector_frame_age_seconds_bucket", "0+1000x60", le="2.0"),
                of_camera("inspector_frame_age_seconds_bucket", "0+1000x60", le="+Inf"),
            ]
        ],
    ),
    Case(
        "InspectorOutboxGrowing",
        "40m",
        [
            BROKER,
            of_station("inspector_outbox_events", "0+50x60"),
            of_station("inspector_outbox_oldest_seconds", "0+60x60"),
        ],
        [
            [  # no broker is wanted
                of_station("inspector_outbox_events", "0+50x60"),
                of_station("inspector_outbox_oldest_seconds", "0+60x60"),
            ],
            [  # many events, and quickly gone
                BROKER,
                of_station("inspector_outbox_events", "0+50x60"),
                of_station("inspector_outbox_oldest_seconds", "2x60"),
            ],
            [  # the broker is back: they get fewer
                BROKER,
                of_station("inspector_outbox_events", "6000-50x60"),
                of_station("inspector_outbox_oldest_seconds", "1500-20x60"),
            ],
        ],
    ),
    Case(
        "InspectorEvidenceMakesRoom",
        "40m",
        [of_camera("inspector_evidence_removed_total", "0x20 30x30", cause="free")],
        [[of_camera("inspector_evidence_removed_total", "0+30x60", cause="age")]],
    ),
]


def test_the_rules_are_well_formed():
    assert "SUCCESS" in promtool("check", "rules", "--lint=all", "--lint-fatal", str(RULES))


def test_the_example_for_scraping_is_well_formed(tmp_path: Path):
    shutil.copytree(FOLDER, tmp_path / "prometheus")
    (tmp_path / "prometheus" / "inspector.token").write_text("a token")
    out = promtool("check", "config", str(tmp_path / "prometheus" / "prometheus.yml"))
    assert re.search(r"SUCCESS: 1 rule files? found", out)


STEP = "1m"


def _test_file(tmp_path: Path, tests: list[dict]) -> str:
    path = tmp_path / "test.yml"
    document = {"rule_files": [str(RULES)], "evaluation_interval": STEP, "tests": tests}
    path.write_text(yaml.safe_dump(document))
    return str(path)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.alert)
def test_an_alert_fires_when_it_should_and_not_before(case: Case, tmp_path: Path):
    firing = f'count(ALERTS{{alertname="{case.alert}", alertstate="firing", station="packing-07"}})'
    fires = {
        "interval": "1m",
        "input_series": case.fires,
        "promql_expr_test": [
            {"expr": firing, "eval_time": case.at, "exp_samples": [{"labels": "{}", "value": 1}]}
        ],
    }
    ever = f'count_over_time(ALERTS{{alertname="{case.alert}", alertstate="firing"}}[3d])'
    quiet = [
        {
            "interval": "1m",
            "input_series": world,
            "promql_expr_test": [{"expr": ever, "eval_time": case.until, "exp_samples": []}],
        }
        for world in case.quiet
    ]
    promtool("test", "rules", _test_file(tmp_path, [fires, *quiet]))


def test_every_alert_is_tested_both_ways():
    assert {case.alert for case in CASES} == {rule["alert"] for rule in alerts()}
    assert all(case.fires and case.quiet for case in CASES)


def test_what_an_alert_tells_is_filled_in(tmp_path: Path):
    case = next(case for case in CASES if case.alert == "InspectorRejectRateJump")
    expected = {
        "exp_labels": {**CAMERA, "severity": "warning"},
        "exp_annotations": {
            "summary": "packing-07: infeed rejects far more than yesterday",
            "description": (
                "20% of the last quarter of an hour are rejected: more than twice the day before,"
                " and more than chance explains."
            ),
            "todo": (
                "Look at the pictures on the page. All of one label: lens, light or focus."
                " If the parts are bad the alert is right."
            ),
            "runbook": "docs/operation.md#when-something-fails",
        },
    }
    test = {
        "interval": "1m",
        "input_series": case.fires,
        "alert_rule_test": [
            {"eval_time": case.at, "alertname": case.alert, "exp_alerts": [expected]}
        ],
    }
    promtool("test", "rules", _test_file(tmp_path, [test]))


def test_every_alert_says_what_is_wrong_and_what_to_do():
    for rule in alerts():
        assert set(rule["annotations"]) == {"summary", "description", "todo", "runbook"}
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert "$labels.station" in rule["annotations"]["summary"]
        page, _, anchor = rule["annotations"]["runbook"].partition("#")
        headings = re.findall(r"^#+ (.+)$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)
        assert anchor in {heading.lower().replace(" ", "-") for heading in headings}


def test_the_failure_table_has_every_alert_and_no_other():
    text = (ROOT / "docs" / "operation.md").read_text(encoding="utf-8")
    section = text.partition("## When something fails")[2].partition("\n## ")[0]
    told = set(re.findall(r"`(Inspector[A-Z][A-Za-z]+)`", section))
    assert told == {rule["alert"] for rule in alerts()}
