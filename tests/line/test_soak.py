"""10,000 parts at 20 parts a second before each of two cameras: none without its own answer.

`make line-soak`; INSPECTOR_TEST_PARTS=600 is a short one. The belt waits while the station is not
ready, so that a busy machine makes the run longer and not wrong; how long it stood is printed.
INSPECTOR_TEST_STRICT=1 is for a machine with nothing else to do: the belt never waits, and each
answer must be there within the default deadline.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.line.lineside import Judging, agrees

if TYPE_CHECKING:
    from pathlib import Path

PARTS = int(os.environ.get("INSPECTOR_TEST_PARTS", "10000"))
STRICT = os.environ.get("INSPECTOR_TEST_STRICT") == "1"
PER_S = 20
CAMERAS = ("infeed", "outfeed")
PATIENT = {"deadline_ms": 5000, "acknowledge_ms": 5000, "timeout_ms": 5000}
"""A machine that is busy is no fault of the line."""


@pytest.mark.slow
@pytest.mark.timeout(4 * PARTS / PER_S + 300)
def test_no_part_of_ten_thousand_goes_without_its_answer(tmp_path: Path) -> None:
    record = tmp_path / "record.jsonl"
    words = ["plc-simulator", "--json", "--port=0", f"--parts={PARTS}", f"--rate={PER_S}"]
    words += [f"--record={record}", *(f"--camera={camera}" for camera in CAMERAS)]
    words += [] if STRICT else ["--indexed", "--heartbeat-within-ms=5000"]
    command = [sys.executable, "-m", "inspector.cli", *words]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    ) as plc:
        assert plc.stdout is not None
        port = json.loads(plc.stdout.readline())["port"]
        try:
            with Judging(port, CAMERAS, **({} if STRICT else PATIENT)) as station:
                for _ in plc.stdout:
                    pass
                assert plc.wait(60) == 0
        finally:
            plc.kill()
    lines = [json.loads(line) for line in record.read_text().splitlines()]
    summary = lines[-1]
    signal_ms = sorted(1000 * each for each in station.happened.signal_s)
    p99 = signal_ms[int(0.99 * len(signal_ms))]
    print(json.dumps(summary))
    pace = PARTS / summary["seconds"]
    stood_s = [round(tally["held_up_s"], 1) for tally in summary["cameras"].values()]
    print(f"{pace:.1f} parts a second before each camera; the belts stood for {stood_s} s")
    print(f"verdict to valid: median {statistics.median(signal_ms):.1f} ms, p99 {p99:.1f} ms")
    assert summary["well"], summary
    answers = [line for line in lines if line["what"] == "answer"]
    assert len(answers) == PARTS * len(CAMERAS)
    assert all(agrees(answer) for answer in answers)
    assert not station.happened.faults[:-1]  # the PLC leaves first, at the end
