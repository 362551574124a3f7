"""Each service names the broker's keys as they stand in its own file."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from inspector.config.events import Events
from inspector.config.fleet import Fleet as FleetFile
from inspector.config.secrets import Secrets
from inspector.config.signaller import Signaller
from inspector.doctor.broker import check_broker
from inspector.doctor.reading import check_reading
from inspector.events.broker import CannotConnectError
from inspector.fleet.fleet import Fleet
from inspector.fleet.reader import Reader
from inspector.signaller.member import Member
from tests.evidence.making import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def _signaller(kafka: dict[str, Any]) -> str:
    line = {"modbus": {"host": "plc"}, "cameras": {"packing-07/infeed": {}}}
    file = {"version": 1, "signaller": "packing", "kafka": kafka, "line": line}
    with pytest.raises(CannotConnectError) as told:
        Member(Signaller.model_validate(file), Secrets({})).join()
    return told.value.trouble.reason


def _fleet_view(kafka: dict[str, Any]) -> str:
    file = FleetFile.model_validate({"kafka": kafka})
    reader = Reader(Fleet(file, time.time), Secrets({}))
    reader.start()
    try:
        return str(wait_until(lambda: reader.reading().reason))
    finally:
        reader.stop()


def _doctor_of_readers(kafka: dict[str, Any]) -> str:
    file = FleetFile.model_validate({"kafka": kafka})
    (finding,) = check_reading(file.kafka, ["inspection.rejects"], Secrets({}), "topics")
    return finding.found


def _doctor_of_stations(kafka: dict[str, Any]) -> str:
    (finding,) = check_broker(Events.model_validate({"kafka": kafka}), Secrets({}))
    return finding.found.removeprefix("tls: ")


@pytest.mark.parametrize(
    ("told_by", "section"),
    [
        (_signaller, "kafka."),
        (_fleet_view, "kafka."),
        (_doctor_of_readers, "kafka."),
        (_doctor_of_stations, "events.kafka."),
    ],
)
def test_a_file_that_is_not_there_is_told_by_its_key(
    told_by: Callable[[dict[str, Any]], str], section: str, tmp_path: Path
) -> None:
    ca_file = str(tmp_path / "none.pem")
    kafka = {
        "bootstrap_servers": ["127.0.0.1:1"],
        "security_protocol": "SSL",
        "tls": {"ca_file": ca_file},
    }
    assert told_by(kafka).startswith(f"{section}tls.ca_file {ca_file} cannot be used: ")
