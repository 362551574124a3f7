"""`inspector dashboard` as a user types it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import httpx
import pytest

from inspector.cli import status_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give a FILE, or the broker with --kafka HOST:PORT"),
        (["--kafka", "broker1"], '--kafka: got "broker1", expected HOST:PORT'),
        (["--kafka", "b:9092", "--zone", "Mars"], '--zone: got "Mars", expected the name of a'),
        (["--kafka", "b:9092", "--line", "x"], "--line x: expected NAME=STATIONS"),
        (["--kafka", "b:9092", "--line", "X=a"], "--line X: expected a name of small letters"),
        (["--kafka", "b:9092", "--look-back-days", "99"], "--look-back-days: got the number 99"),
        (["--kafka", "b:9092", "--listen", "0.0.0.0:80"], "can be reached from outside: name a"),
        (
            ["--kafka", "b:9092", "--listen", "0.0.0.0:80", "--token", "NOT_SET"],
            "the secret NOT_SET is not set",
        ),
        (["--kafka", "b:9092", "--listen", "here"], "--listen: got"),
        (["none.yaml"], "none.yaml: 1 fault"),
        (["none.yaml", "--zone", "UTC"], "--zone: with a FILE, write this into none.yaml"),
        (["none.yaml", "--kafka", "b:9092"], "give a FILE, or the broker"),
    ],
)
def test_a_mistake_is_one_message_and_status_2(arguments, said, capsys):
    assert status_of(["dashboard", *arguments]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.startswith("inspector: ")
    assert "Traceback" not in told


def test_a_secret_of_the_broker_that_is_not_set_is_told_at_once(tmp_path: Path, capsys):
    file = tmp_path / "fleet.yaml"
    file.write_text(
        "kafka: {bootstrap_servers: [b:9092], security_protocol: SASL_PLAINTEXT,"
        " sasl: {mechanism: PLAIN, username: NOT_SET, password: NOT_SET}}"
    )
    assert status_of(["dashboard", str(file)]) == 2
    assert "the secret NOT_SET is not set" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_without_a_broker_and_ends_in_good_order(number, tmp_path: Path):
    command = [
        sys.executable, "-m", "inspector.cli", "dashboard", "--kafka", "127.0.0.1:9",
        "--listen", "127.0.0.1:0", "--log-format", "json",
    ]  # fmt: skip
    log = tmp_path / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, stderr=out, env=os.environ)
    try:
        deadline = time.monotonic() + 120
        address = ""
        while not address:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline
            whole, _, _ = log.read_text().rpartition("\n")
            lines = [json.loads(line) for line in whole.splitlines()]
            address = next((line["page"] for line in lines if line["message"] == "ready"), "")
            time.sleep(0.05)
        state = ""
        while state != "refused":
            assert time.monotonic() < deadline
            state = httpx.get(address + "api/fleet", timeout=60).json()["reading"]["state"]
        process.send_signal(number)
        assert process.wait(60) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()
