"""What Prometheus finds at a real station: well formed, and all that rules and panels ask for."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import cv2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from inspector.signaller.tally import Tally
from tests.engine import tiny_engine
from tests.integration.station_process import StationProcess
from tests.observe.named_metrics import (
    LINE_METRICS,
    ROOT,
    SIGNALLER_METRICS,
    expressions_of_dashboard,
    expressions_of_rules,
    metrics_in,
    recorded,
)

if TYPE_CHECKING:
    from pathlib import Path

NAMED = metrics_in(expressions_of_rules() + expressions_of_dashboard()) - recorded()


@pytest.fixture(scope="module")
def exposition(tmp_path_factory: pytest.TempPathFactory) -> str:
    """`/metrics` of a station with all that it can have; nothing answers as broker or PLC."""
    folder: Path = tmp_path_factory.mktemp("station")
    tiny_engine.make(folder / "engines", name="tiny")
    pictures = folder / "pictures"
    pictures.mkdir()
    cv2.imwrite(str(pictures / "0.png"), tiny_engine.picture("gblur", seed=1))
    source = {"kind": "images", "folder": str(pictures), "loop": True, "every_s": 0.1}
    config: dict[str, Any] = {
        "engine": {"screen": "tiny", "folder": str(folder / "engines"), "threads": 1},
        "cameras": {"infeed": {"source": source}},
        "events": {"kafka": {"bootstrap_servers": ["127.0.0.1:9"]}},
        "evidence": {"min_free_mb": 0},
        "line": {"modbus": {"host": "127.0.0.1", "port": 9}},
    }
    with StationProcess(folder, config) as station:
        station.wait_ready()
        station.until(
            "verdict", lambda: "inspector_verdicts_total{" in station.get("/metrics").text
        )
        return station.get("/metrics").text


def test_promtool_takes_it(exposition: str):
    run = subprocess.run(
        ["promtool", "check", "metrics"],
        input=exposition,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr


def _told(exposition: str) -> set[str]:
    told = set()
    for family in text_string_to_metric_families(exposition):
        told.add(family.name)
        told |= {family.name + suffix for suffix in _suffixes(family.type)}
    return told


def _suffixes(kind: str) -> tuple[str, ...]:
    return {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}.get(kind, ())


def _of_the_line(name: str) -> bool:
    return name.removesuffix("_bucket") in LINE_METRICS


@pytest.mark.parametrize("name", sorted(NAMED - SIGNALLER_METRICS))
def test_what_rules_and_dashboard_name_is_told(name: str, exposition: str):
    assert name in _told(exposition)


def test_what_they_name_of_the_signaller_is_told_by_it():
    tally = Tally(
        lambda: {
            "line": {"state": "connected", "safe": "reject"},
            "role": "active",
            "broker": {"up": True},
        }
    )
    assert _told(tally.exposition().decode()) >= SIGNALLER_METRICS | {
        "inspector_broker_up",
        "inspector_line_faults_total",
        "inspector_line_safe",
        "inspector_line_up",
    }
    assert "inspector_line_safe 1.0" in tally.exposition().decode()
    assert SIGNALLER_METRICS <= NAMED


def test_rules_and_dashboard_are_about_the_line_too():
    assert {name.removesuffix("_bucket") for name in NAMED if _of_the_line(name)} == LINE_METRICS


def test_every_metric_that_is_told_is_in_the_documents(exposition: str):
    text = (ROOT / "docs" / "operation.md").read_text(encoding="utf-8")
    for family in text_string_to_metric_families(exposition):
        name = family.name + ("_total" if family.type == "counter" else "")
        if name.startswith("inspector_"):
            assert f"`{name}`" in text, name
