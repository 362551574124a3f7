"""`inspector check` and `inspector schema`."""

from __future__ import annotations

import json

import pytest

from inspector import cli

SMALLEST = "version: 1\nstation: line-1\ncameras: {a: {source: {kind: video, path: a.mp4}}}\n"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "station.yaml"
    path.write_text(SMALLEST)
    return path


def test_a_file_in_order_is_summed_up(file, capsys):
    assert cli.status_of(["check", str(file)]) == 0
    out = capsys.readouterr().out
    assert "line-1" in out
    assert "no broker" in out


def test_an_address_in_brackets_is_shown_as_it_is(file, capsys):
    file.write_text(
        "version: 1\nstation: line-1\n"
        "cameras: {a: {source: {kind: rtsp, url: 'rtsp://[fd00::21]/stream1'}}}\n"
        "events: {kafka: {bootstrap_servers: ['[fd00::5]:9092']}}\n"
    )
    assert cli.status_of(["check", str(file)]) == 0
    out = capsys.readouterr().out
    assert "rtsp://[fd00::21]/stream1" in out
    assert "[fd00::5]:9092" in out


def test_what_is_named_but_not_there_is_a_note_and_no_fault(file, capsys):
    assert cli.status_of(["check", "--json", str(file)]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["ok"] is True
    assert answer["faults"] == []
    assert [note["key"] for note in answer["notes"]] == ["cameras.a.source.path"]
    (file.parent / "a.mp4").touch()
    assert cli.status_of(["check", "--json", str(file)]) == 0
    assert json.loads(capsys.readouterr().out)["notes"] == []


def test_faults_are_listed_for_people(file, capsys):
    file.write_text(SMALLEST + "mode: watch\nweb: {listen: here}\n")
    assert cli.status_of(["check", str(file)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == f"inspector: {file}: 2 faults"
    assert lines[1] == '  line 4: mode: got "watch", expected "inspect" or "observe"'
    assert lines[2].startswith('  line 5: web.listen: got "here", expected ADDRESS:PORT')


def test_faults_are_listed_for_programs(file, capsys):
    file.write_text(SMALLEST + "mode: watch\n")
    assert cli.status_of(["check", "--json", str(file)]) == 2
    answer = json.loads(capsys.readouterr().out)
    assert answer["ok"] is False
    assert answer["faults"] == [
        {
            "line": 4,
            "column": 1,
            "key": "mode",
            "problem": 'got "watch", expected "inspect" or "observe"',
            "got": '"watch"',
            "expected": '"inspect" or "observe"',
        }
    ]


def test_missing_secrets_are_faults_unless_told_otherwise(file, capsys, monkeypatch):
    file.write_text(SMALLEST + "web: {token: WEB_TOKEN}\n")
    monkeypatch.delenv("WEB_TOKEN", raising=False)
    assert cli.status_of(["check", str(file)]) == 2
    assert "line 4: web.token: the secret WEB_TOKEN is not set" in capsys.readouterr().err
    assert cli.status_of(["check", "--no-secrets", str(file)]) == 0
    monkeypatch.setenv("WEB_TOKEN", "hunter2")
    assert cli.status_of(["check", str(file)]) == 0
    assert "hunter2" not in capsys.readouterr().out


@pytest.mark.parametrize("subject", ["station", "events"])
def test_schema_is_json(subject, capsys):
    assert cli.status_of(["schema", subject]) == 0
    assert "$schema" in json.dumps(json.loads(capsys.readouterr().out))
