"""`inspector dashboard` as a service: what it tells its manager, under its unit's own filter."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.service.stand_in import StandIn
from tests.service.unit import FLEET_UNIT, ROOT
from tests.signaller.lineside import Rejects

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("kafka")]


def service(root: Path, config: dict) -> StandIn:
    folder = root / "etc" / "inspector"
    (folder / "secrets").mkdir(parents=True)
    (folder / "line-1.yaml").write_text(yaml.safe_dump(config))
    sandbox = [sys.executable, "-m", "tests.service.sandbox", str(FLEET_UNIT)]
    words = ["env", f"PYTHONPATH={ROOT}", *sandbox, sys.executable, "-m", "inspector.cli"]
    return StandIn(root, words, unit=FLEET_UNIT)


def test_it_is_ready_says_what_it_has_read_is_alive_and_stops(tmp_path, broker, topic_suffix):
    rejects = Rejects(broker.bootstrap, f"rejects.{topic_suffix}")
    rejects.reject("infeed")
    config = {
        "version": 1,
        "kafka": {"bootstrap_servers": [broker.bootstrap]},
        "topics": {"rejects": rejects.topic, "status": rejects.topic, "verdicts": rejects.topic},
        "web": {"listen": "127.0.0.1:0"},
    }
    with service(tmp_path, config) as manager:
        manager.wait_for("running")
        manager.until("the past", lambda: "past: read" in manager.status)
        assert f"broker: {broker.bootstrap}" in manager.status
        told = len(manager.happened("WATCHDOG"))
        manager.until("signs of life", lambda: len(manager.happened("WATCHDOG")) > told + 2)
        manager.stop()
        manager.wait_for("inactive", within_s=manager.unit.seconds("TimeoutStopSec"))
    assert "Operation not permitted" not in manager.log_path.read_text()
    rejects.close()


def test_a_mistake_in_its_file_is_not_started_again_and_says_why(tmp_path):
    with service(tmp_path, {"version": 1}) as manager:
        manager.wait_for("failed")
        assert manager.happened("end")[-1].detail == "2"
        assert "kafka: missing" in manager.status
