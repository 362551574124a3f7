"""The file of the fleet view."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from inspector.cli import status_of
from inspector.config.faults import StationFileError
from inspector.config.fleet import is_fleet_file, load_fleet

if TYPE_CHECKING:
    from pathlib import Path

GOOD = """\
version: 1
kafka:
  bootstrap_servers: [broker1:9093]
  security_protocol: SASL_SSL
  tls: {ca_file: ca.pem}
  sasl: {mechanism: SCRAM-SHA-512, username: KAFKA_USER, password: KAFKA_PASSWORD}
topics: {rejects: plant.rejects}
lines: {line-7: [packing-07, "packing-1?"], moulding: ["mould-*"]}
shifts: {zone: Europe/Berlin, starts: {day: "06:00", night: "18:30"}}
look_back_days: 7
quiet_after: 5
web: {listen: "0.0.0.0:8788", token: WEB_TOKEN}
"""


def test_all_of_it(tmp_path: Path):
    file = tmp_path / "fleet.yaml"
    file.write_text(GOOD)
    fleet = load_fleet(file)
    assert fleet.kafka.tls.ca_file == tmp_path / "ca.pem"
    assert fleet.topics.rejects == "plant.rejects"
    assert fleet.topics.status == "inspection.status"
    assert fleet.lines["line-7"] == ("packing-07", "packing-1?")
    assert fleet.shifts.starts == {"day": "06:00", "night": "18:30"}


def test_little_is_enough(tmp_path: Path):
    file = tmp_path / "fleet.yaml"
    file.write_text("kafka: {bootstrap_servers: [broker1:9092]}")
    fleet = load_fleet(file)
    assert list(fleet.shifts.starts.values()) == ["06:00", "14:00", "22:00"]
    assert fleet.web.listen == "127.0.0.1:8788"
    assert fleet.lines == {}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("Europe/Berlin", "Europe/Bonn"), r"line 9: shifts.zone: .*name of a time zone"),
        (("18:30", "18:40"), r"line 9: shifts.starts.night: .*quarter of an hour, such as 18:00"),
        (("18:30", "06:00"), r"line 9: shifts: two shifts begin at the same time"),
        (("18:30", "24:00"), r"line 9: shifts.starts.night: "),
        (("mould-*", "Mould/*"), r"line 8: lines.moulding\[0\]: "),
        (("quiet_after: 5", "quiet_after: 1"), r"line 11: quiet_after: .*at least 2"),
        (("quiet_after", "quiet_aftr"), r"line 11: quiet_aftr: unknown key"),
        ((", token: WEB_TOKEN", ""), r"line 12: web: .*name a secret under token"),
        (("SASL_SSL", "SSL"), r"line 2: kafka: security_protocol SSL does not go with a sasl"),
        (("[broker1:9093]", "[]"), r"line 3: kafka.bootstrap_servers: .*at least 1 entry"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_place(tmp_path: Path, change, said):
    file = tmp_path / "fleet.yaml"
    assert change[0] in GOOD
    file.write_text(GOOD.replace(*change))
    with pytest.raises(StationFileError, match=said):
        load_fleet(file)


def test_all_mistakes_at_once(tmp_path: Path):
    file = tmp_path / "fleet.yaml"
    file.write_text("version: 2\nlines: []\n")
    with pytest.raises(StationFileError) as caught:
        load_fleet(file)
    assert {str(fault.key[0]) for fault in caught.value.faults} == {"version", "lines", "kafka"}


def test_check_tells_a_file_in_order_and_one_that_is_not(tmp_path: Path, capsys):
    file = tmp_path / "fleet.yaml"
    file.write_text(GOOD)
    assert status_of(["check", "--no-secrets", str(file)]) == 0
    said = "".join(capsys.readouterr().out.split())  # whatever the width
    assert "fleetviewisinorder" in said
    assert "packing-07,packing-1?" in said
    assert "day06:00,night18:30;Europe/Berlin" in said
    assert status_of(["check", "--json", str(file)]) == 2
    told = json.loads(capsys.readouterr().out)
    assert [fault["key"] for fault in told["faults"]] == [
        "kafka.sasl.username", "kafka.sasl.password", "web.token"
    ]  # fmt: skip
    file.write_text(GOOD.replace("quiet_after", "quiet_aftr"))
    assert status_of(["check", "--no-secrets", str(file)]) == 2
    assert "line 11: quiet_aftr: unknown key" in capsys.readouterr().err


def test_the_probe_reaches_for_the_broker(tmp_path: Path, capsys):
    file = tmp_path / "fleet.yaml"
    file.write_text("kafka: {bootstrap_servers: ['127.0.0.1:1'], request_timeout_s: 1}")
    assert status_of(["check", "--probe", "--json", str(file)]) == 1
    (finding,) = json.loads(capsys.readouterr().out)["probe"]["findings"]
    assert (finding["subject"], finding["grade"]) == ("broker", "mend")
    assert finding["expected"] == "topic inspection.rejects, inspection.status"


def test_a_station_file_is_no_fleet_view(tmp_path: Path):
    file = tmp_path / "station.yaml"
    file.write_text("version: 1\ncameras: {}\nkafka: {}\n")
    assert not is_fleet_file(file)
    assert not is_fleet_file(tmp_path / "missing.yaml")
