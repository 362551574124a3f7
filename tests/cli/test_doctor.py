"""`inspector doctor` and `inspector check --probe`, as a user types them."""

from __future__ import annotations

import json

import pytest

from inspector import cli
from tests.doctor.conftest import engines, station_file  # noqa: F401 - fixtures

SUBJECTS = {
    "file", "camera", "engine", "broker", "state", "evidence", "service", "clock", "memory", "cpu",
    "gpu", "page",
}  # fmt: skip


@pytest.fixture
def missing_camera(station_file):  # noqa: F811 - the fixture above
    return station_file(cameras={"a": {"source": {"kind": "video", "path": "none.mp4"}}})


def test_doctor_for_programs(station_file, capfd):  # noqa: F811 - the fixture above
    path = station_file()
    status = cli.status_of(["doctor", str(path), "--json", "--seconds", "1"])
    answer = json.loads(capfd.readouterr().out)
    assert answer["file"] == str(path)
    assert {f["subject"] for f in answer["findings"]} == SUBJECTS
    for found in answer["findings"]:
        assert set(found) == {
            "subject", "name", "grade", "found", "expected", "remedy", "facts",
        }  # fmt: skip
        assert found["grade"] in {"good", "note", "mend", "mistake"}
        if found["grade"] in {"mend", "mistake"}:
            assert found["remedy"]
    assert status == answer["status"]
    graded = {(f["subject"], f["name"]): f["grade"] for f in answer["findings"]}
    assert graded["camera", "belt"] == "good"
    assert graded["engine", "screen tiny"] == "good"


def test_a_deadline_that_cannot_be_met_is_the_files_mistake(station_file, capfd):  # noqa: F811
    source = {"kind": "pattern", "width": 128, "height": 96, "fps": 10}
    asked = {"on_trigger": True, "deadline_ms": 60}
    path = station_file(
        cameras={"belt": {"source": source, "inspect": asked, "camera_delay_ms": 50}},
        evidence={"min_free_mb": 0, "max_mb": 1},
    )
    assert cli.status_of(["doctor", str(path), "--json", "--seconds", "5"]) == 2
    findings = json.loads(capfd.readouterr().out)["findings"]
    (trigger,) = [f for f in findings if f["subject"] == "trigger"]
    assert (trigger["name"], trigger["grade"]) == ("belt", "mistake")
    assert trigger["facts"]["needed_ms"] > 60
    kept = {f["name"] for f in findings if f["subject"] == "evidence"}
    assert kept == {"folder", "space", "write"}


def test_doctor_for_people_says_what_to_do(missing_camera, capfd, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert cli.status_of(["doctor", str(missing_camera)]) == 2
    out = capfd.readouterr().out
    assert "mistake" in out
    assert "correct path in the station file" in out
    assert "1 to correct in the file" in out


def test_check_with_probe_tells_both(missing_camera, capfd):
    assert cli.status_of(["check", "--json", "--probe", str(missing_camera)]) == 2
    answer = json.loads(capfd.readouterr().out)
    assert answer["ok"] is True
    assert answer["faults"] == []
    assert [note["key"] for note in answer["notes"]] == ["cameras.a.source.path"]
    assert answer["probe"]["status"] == 2
    causes = [f["facts"].get("cause") for f in answer["probe"]["findings"]]
    assert "not_found" in causes
    assert cli.status_of(["check", str(missing_camera), "--probe"]) == 2
    assert "line-1" in capfd.readouterr().out


def test_a_secret_that_is_not_set_is_told_and_the_rest_is_examined(station_file, capfd):  # noqa: F811
    path = station_file(web={"listen": "127.0.0.1:0", "token": "NO_SUCH_TOKEN"})
    assert cli.status_of(["doctor", str(path), "--json", "--seconds", "1"]) == 2
    findings = json.loads(capfd.readouterr().out)["findings"]
    assert "the secret NO_SUCH_TOKEN is not set" in findings[0]["found"]
    assert {f["subject"] for f in findings} == SUBJECTS


def test_no_file_of_that_name(capfd, tmp_path):
    assert cli.status_of(["doctor", str(tmp_path / "none.yaml"), "--json"]) == 2
    first, *_ = json.loads(capfd.readouterr().out)["findings"]
    assert first["found"] == "there is no such file"


def test_a_faulty_file_of_a_signaller_is_told_as_findings(capfd, tmp_path):
    path = tmp_path / "line.yaml"
    path.write_text("version: 1\nsignaller: packing\nmode: see\n")
    assert cli.status_of(["doctor", str(path), "--json"]) == 2
    answer = json.loads(capfd.readouterr().out)
    assert (answer["file"], answer["worst"]) == (str(path), "mistake")
    assert {f["facts"]["key"] for f in answer["findings"]} >= {"mode", "kafka", "line"}
