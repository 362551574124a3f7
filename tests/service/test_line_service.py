"""`inspector line` as a service: what it tells its manager, under its unit's own filter."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.service.stand_in import StandIn
from tests.service.unit import LINE_UNIT, ROOT
from tests.signaller.lineside import Plc, Rejects, names

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("kafka"), pytest.mark.timeout(600)]


def service(root: Path, config: dict, *, filtered: bool = False) -> StandIn:
    folder = root / "etc" / "inspector"
    (folder / "secrets").mkdir(parents=True)
    (folder / "line-1.yaml").write_text(yaml.safe_dump(config))
    sandbox = [sys.executable, "-m", "tests.service.sandbox", str(LINE_UNIT)] if filtered else []
    words = ["env", f"PYTHONPATH={ROOT}", *sandbox, sys.executable, "-m", "inspector.cli"]
    return StandIn(root, words, unit=LINE_UNIT)


def test_it_is_ready_tells_its_facts_is_alive_and_stops_under_its_filter(
    tmp_path, broker, topic_suffix
):
    rejects = Rejects(broker.bootstrap, f"rejects.{topic_suffix}")
    with Plc() as plc:
        config = {
            "version": 1,
            "signaller": "line-1",
            "kafka": {"bootstrap_servers": [broker.bootstrap]},
            "consume": {"topic": rejects.topic, "group": rejects.topic},
            "line": {
                "modbus": {"host": "localhost", "port": plc.port},
                "cameras": {name: {"deadline_ms": 60_000} for name in names()},
            },
            "web": {"listen": "127.0.0.1:0"},
        }
        with service(tmp_path, config, filtered=True) as manager:
            manager.wait_for("running")
            manager.until("the PLC", lambda: "connected" in manager.status)
            rejects.reject("infeed")
            manager.until("a reject at the PLC", plc.acted)
            began = time.monotonic()
            time.sleep(manager.unit.seconds("WatchdogSec") + 1)
            assert len([each for each in manager.happened("WATCHDOG") if each.at > began]) > 2
            assert not manager.happened("watchdog")
            plc.simulator.stop()
            manager.until("the fault", lambda: "not well: line" in manager.status)
            manager.stop()
            manager.wait_for("inactive")
            assert not manager.happened("killed")
        assert (manager.state_folder / "handled.sqlite").exists()
        assert "Operation not permitted" not in manager.log_path.read_text()
    rejects.close()


def test_a_mistake_in_its_file_is_not_started_again_and_says_why(tmp_path):
    with service(tmp_path, {"version": 1, "signaller": "line-1"}) as manager:
        manager.wait_for("failed")
        assert manager.happened("end")[-1].detail == "2"
        manager.until("the reason", lambda: "line: missing" in manager.status)
