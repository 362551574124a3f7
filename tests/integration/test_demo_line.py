"""The two commands of the README: the demo station answers the simulator for each part."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FILE = ROOT / "configs" / "demo-line.yaml"
INSPECTOR = [sys.executable, "-m", "inspector.cli"]


@pytest.mark.timeout(600)
def test_the_demo_answers_for_each_part_that_the_simulator_announces(tmp_path):
    record = tmp_path / "record.jsonl"
    # More patient than the demo, so that a busy machine is no fault of the line.
    words = [
        "--port=0",
        "--parts=40",
        "--indexed",
        "--travel-ms=20000",
        "--heartbeat-within-ms=20000",
    ]
    simulator = subprocess.Popen(
        [*INSPECTOR, "plc-simulator", str(FILE), *words, f"--record={record}", "--json"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert simulator.stdout is not None
    config = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    config["line"]["modbus"]["port"] = json.loads(simulator.stdout.readline())["port"]
    config["line"] |= {"acknowledge_ms": 20_000}
    config["line"]["modbus"]["timeout_ms"] = 20_000
    config["line"]["cameras"]["belt"]["deadline_ms"] = 15_000
    config["cameras"]["belt"]["inspect"]["deadline_ms"] = 14_000
    config["cameras"]["belt"]["source"]["path"] = str(FILE.parent / "demo" / "clip.mp4")
    config["web"]["listen"] = "127.0.0.1:0"
    file = tmp_path / "demo-line.yaml"
    file.write_text(yaml.safe_dump(config))
    with (tmp_path / "log").open("w") as log:
        station = subprocess.Popen(
            [*INSPECTOR, "run", str(file)],
            env={**os.environ, "STATE_DIRECTORY": str(tmp_path / "state")},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        simulator.communicate(timeout=500)
        assert simulator.returncode == 0, (tmp_path / "log").read_text()[-3000:]
        station.send_signal(signal.SIGTERM)
        assert station.wait(60) == 0
    finally:
        simulator.kill()
        station.kill()
        station.wait()
    answers = [
        line
        for line in map(json.loads, record.read_text().splitlines())
        if line["what"] == "answer"
    ]
    assert [answer["part"] for answer in answers] == list(range(1, 41))
    assert {"accept", "reject"} <= {answer["result"] for answer in answers}
