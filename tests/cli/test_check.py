"""`inspector check` and `inspector schema`."""

from __future__ import annotations

import json

import pytest

from inspector import cli
from tests.rights import only_as_the_mode_says

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


RTSP = "version: 1\nstation: line-1\ncameras: {{a: {{source: {{kind: rtsp, url: '{}'}}}}}}\n"


@pytest.mark.parametrize(
    ("url", "status"),
    [
        ("rtsp://10.0.0.21:554/user=op&password=s3cret&channel=1", 0),
        ("rtps://10.0.0.21:554/user=op&password=s3cret&channel=1", 2),
        ("rtsp://admin:s3cret\uff1f7@10.0.0.1", 2),
    ],
)
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_no_password_in_an_address_is_shown(url, status, form, file, capsys):
    file.write_text(RTSP.format(url))
    assert cli.status_of(["check", *form, str(file)]) == status
    out, err = capsys.readouterr()
    assert "s3cret" not in out + err


def test_what_is_named_but_not_there_is_a_note_and_no_fault(file, capsys):
    assert cli.status_of(["check", "--json", str(file)]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["ok"] is True
    assert answer["faults"] == []
    assert [note["key"] for note in answer["notes"]] == ["cameras.a.source.path"]
    (file.parent / "a.mp4").touch()
    assert cli.status_of(["check", "--json", str(file)]) == 0
    assert json.loads(capsys.readouterr().out)["notes"] == []


def test_an_engine_that_is_not_there_is_a_note_with_its_line(file, capsys):
    file.write_text(SMALLEST + "engine:\n  screen: simpelnet\n  confirm: inceptionresnet\n")
    assert cli.status_of(["check", "--json", str(file)]) == 0
    _, screen, confirm = json.loads(capsys.readouterr().out)["notes"]
    assert (screen["line"], screen["key"]) == (5, "engine.screen")
    assert screen["problem"].startswith("not there yet: no engine simpelnet in ")
    assert "simplenet" in screen["problem"].partition("; there: ")[2]
    assert (confirm["line"], confirm["key"]) == (6, "engine.confirm")


def test_where_the_folder_of_engines_is_not_there_that_alone_is_told(file, capsys):
    file.write_text(SMALLEST + "engine: {folder: engines, screen: simpelnet}\n")
    (file.parent / "a.mp4").touch()
    assert cli.status_of(["check", "--json", str(file)]) == 0
    notes = json.loads(capsys.readouterr().out)["notes"]
    assert [note["key"] for note in notes] == ["engine.folder"]
    (file.parent / "engines").mkdir()
    assert cli.status_of(["check", str(file)]) == 0
    assert "engine.screen: not there yet: no engine simpelnet" in capsys.readouterr().out


def test_what_this_user_may_not_look_at_is_a_note_too(file, capsys):
    closed = file.parent / "closed"
    closed.mkdir(mode=0)
    file.write_text(SMALLEST.replace("a.mp4", "closed/a.mp4"))
    with only_as_the_mode_says():
        assert cli.status_of(["check", "--json", str(file)]) == 0
    (note,) = json.loads(capsys.readouterr().out)["notes"]
    assert (note["key"], note["line"]) == ("cameras.a.source.path", 3)
    assert note["problem"] == f"cannot be looked at: {closed / 'a.mp4'}: Permission denied"


@pytest.mark.parametrize(
    "command",
    [
        "events list --state FOLDER",
        "events export --state FOLDER --out out",
        "bench idle --folder FOLDER",
    ],
)
def test_a_folder_that_this_user_may_not_look_into_is_named(command, tmp_path, capsys):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    words = command.replace("FOLDER", str(closed / "state")).split()
    with only_as_the_mode_says():
        assert cli.status_of(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"inspector: {closed}/state")
    assert line.endswith(" cannot be looked at: Permission denied")


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
