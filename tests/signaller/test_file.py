"""The file of `inspector line`, and what `inspector check` says of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from inspector.cli import status_of
from inspector.config.faults import StationFileError
from inspector.config.load import is_signaller_file, load_signaller
from inspector.config.secrets import Secrets
from inspector.signaller.service import Service
from tests.signaller.lineside import Plc, names

if TYPE_CHECKING:
    from pathlib import Path

GOOD: dict[str, Any] = {
    "version": 1,
    "signaller": "packing",
    "kafka": {"bootstrap_servers": ["broker1:9092"]},
    "line": {"modbus": {"host": "plc"}, "cameras": {"packing-07/infeed": {}}},
}


def written(folder: Path, **change: Any) -> Path:
    file = folder / "line.yaml"
    file.write_text(yaml.safe_dump(GOOD | change))
    return file


def test_defaults_name_group_and_member_after_the_signaller(tmp_path):
    file = written(tmp_path)
    config = load_signaller(file)
    assert is_signaller_file(file)
    assert (config.group, config.member) == ("inspector-line.packing", "packing")
    line = config.line.as_line()
    assert line.places(config.line.cameras) == {"packing-07/infeed": 32}


@pytest.mark.parametrize(
    ("change", "key", "says"),
    [
        ({"modes": "observe"}, "modes", 'did you mean "mode"?'),
        ({"consume": {"member": "a b"}}, "consume.member", "a name of letters"),
        ({"consume": {"session_timeout_s": 1}}, "consume.session_timeout_s", "at least 6"),
        ({"line": {"modbus": {"host": "plc"}}}, "line.cameras", "missing"),
        (
            {"line": {"modbus": {"host": "plc"}, "cameras": {"infeed": {}}}},
            "line.cameras.infeed",
            "STATION/CAMERA",
        ),
        (
            {"line": {"modbus": {"host": "plc"}, "cameras": {"s/a": {"trigger": "plc"}}}},
            "line.cameras.s/a.trigger",
            "unknown key",
        ),
        (
            {"line": {"modbus": {"host": "plc", "plc_at": 33}, "cameras": {"s/a": {}}}},
            "line.modbus",
            "overlaps",
        ),
        (
            {"line": {"modbus": {"host": "plc"}, "cameras": {"s/a": {"deadline_ms": 10}}}},
            "line.cameras.s/a",
            "reserve_ms (15) must be less",
        ),
    ],
)
def test_a_fault_says_where_what_came_and_what_was_expected(tmp_path, change, key, says):
    with pytest.raises(StationFileError) as raised:
        load_signaller(written(tmp_path, **change))
    (fault,) = raised.value.faults
    assert fault.document()["key"] == key
    assert says in fault.problem
    assert fault.line is not None


def test_every_fault_is_told_at_once_and_secrets_that_are_not_set_are_faults(tmp_path):
    sasl = {"mechanism": "PLAIN", "username": "KAFKA_USER", "password": "KAFKA_PASSWORD"}
    kafka = {
        "bootstrap_servers": ["nowhere"], "security_protocol": "SASL_PLAINTEXT", "sasl": sasl
    }  # fmt: skip
    with pytest.raises(StationFileError) as raised:
        load_signaller(written(tmp_path, kafka=kafka, mode="see"), Secrets({"KAFKA_USER": "me"}))
    keys = [fault.document()["key"] for fault in raised.value.faults]
    assert sorted(keys) == ["kafka.bootstrap_servers[0]", "kafka.sasl.password", "mode"]


def test_check_tells_a_file_in_order_and_one_that_is_not(tmp_path, capsys):
    assert status_of(["check", str(written(tmp_path))]) == 0
    said = "".join(capsys.readouterr().out.split())  # whatever the width
    assert "signallerpackingisinorder" in said
    assert "packing-07/infeed" in said
    assert "inspector-line.packing,memberpacking" in said
    assert status_of(["check", "--json", str(written(tmp_path, mode="see"))]) == 2
    told = json.loads(capsys.readouterr().out)
    assert not told["ok"]
    assert told["faults"][0]["key"] == "mode"


def test_the_probe_reads_every_block_of_the_plc_and_misses_the_broker(tmp_path, capsys):
    with Plc() as plc:
        line = {
            "modbus": {"host": "127.0.0.1", "port": plc.port},
            "cameras": {name: {} for name in names()},
        }
        kafka = {"bootstrap_servers": ["127.0.0.1:1"]}
        file = written(tmp_path, line=line, kafka=kafka)
        assert status_of(["check", "--probe", "--json", str(file)]) == 1
        found = json.loads(capsys.readouterr().out)["probe"]["findings"]
        grades = {finding["name"]: finding["grade"] for finding in found}
        assert grades["127.0.0.1:1"] == "mend"
        assert {name: grades[name] for name in names()} == dict.fromkeys(names(), "good")
        assert status_of(["doctor", "--json", str(file)]) == 1
        told = json.loads(capsys.readouterr().out)["findings"]
        assert {finding["name"]: finding["grade"] for finding in told} == grades
        assert not plc.of("foreign_write")


def test_two_signallers_cannot_share_a_state_folder(tmp_path):
    folder = tmp_path / "state"
    service = Service(load_signaller(written(tmp_path)), Secrets({}), folder)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "inspector.cli", "line", str(written(tmp_path))],
            env={**os.environ, "STATE_DIRECTORY": str(folder)},
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    finally:
        service.stop()
    assert done.returncode == 1
    assert f"is in use by process {os.getpid()}: a second signaller cannot" in done.stderr
