"""A station on a GPU: it judges at once, builds, swaps, and outlives its engine process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
import yaml

from tests.integration.station_process import StationProcess
from tests.integration.test_engines import engine_processes
from tests.integration.test_plans import balanced, engine, fact

BUILD_S = 3000


@pytest.fixture
def config(box):
    """One camera, whose pictures are the golden tiles; TensorRT is asked for."""
    pictures = box.engine / "golden"
    source = {"kind": "images", "folder": str(pictures), "loop": True, "every_s": 0.05}
    asked = {"screen": box.engine.name, "folder": str(box.engine.parent), "threads": 1}
    asked |= {"runtime": "tensorrt", "max_batch": 4, "precision": "int8"}
    return {"engine": asked, "cameras": {"infeed": {"source": source}}}


def test_it_builds_while_it_judges_and_outlives_its_engine_process(box, config, tmp_path):
    with StationProcess(tmp_path, config, box.env, program=box.program) as running:
        running.wait_ready()
        (first,) = [line for line in running.log() if line["message"] == "engine ready"]
        assert first["runtime"] == "openvino"
        running.until("swap", lambda: engine(running)["runtime"] == "tensorrt", BUILD_S)
        assert fact(running, "plan screen")["ok"]
        judged = balanced(running)["judged"]
        running.until("verdicts", lambda: balanced(running)["judged"] > judged + 20)
        (pid,) = engine_processes(running)
        os.kill(pid, signal.SIGKILL)
        running.until("stand-in", lambda: engine(running)["changes"].get("lost"))
        running.until("restored", lambda: engine(running)["changes"].get("restored"))
        judged = balanced(running)["judged"]
        running.until("verdicts", lambda: balanced(running)["judged"] > judged + 20)
        assert not engine(running)["degraded"]
        assert running.terminate() == 0


def test_the_commands_and_the_doctor_tell_of_the_plan(box, config, tmp_path):
    document = {"version": 1, "station": "test-01", "state": str(tmp_path / "state"), **config}
    file = tmp_path / "station.yaml"
    file.write_text(yaml.safe_dump(document))

    def told(*arguments):
        done = subprocess.run(
            [sys.executable, "-m", box.program, *map(str, arguments), "--json"],
            env={**os.environ, **box.env},
            capture_output=True, text=True, check=False, timeout=BUILD_S,
        )  # fmt: skip
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)

    where = ("--runtime", "tensorrt", "--station", file)
    status, (plan,) = told("engines", "build", *where)
    assert (status, plan["precision"], plan["made"]) == (0, "int8", True)
    status, found = told("engines", "list", "--station", file)
    assert [row["state"] for row in found["plans"]] == ["good"]
    status, (check,) = told("engines", "verify", *where)
    assert (status, check["ok"]) == (0, True)
    status, bench = told("engines", "bench", box.engine.name, *where, "--seconds", "0.2")
    assert status == 0
    print(json.dumps(bench, indent=2))
    _, doctor = told("doctor", file, "--seconds", "1")
    grades = {(one["subject"], one["grade"]) for one in doctor["findings"]}
    assert {("gpu", "good"), ("plan", "good"), ("engine", "good")} <= grades
