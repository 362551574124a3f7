"""The list of checks: side by side, each with its own time, and one faulty one harms no other."""

from __future__ import annotations

import threading

import pytest

from inspector.config.secrets import Secrets
from inspector.doctor.checks import Check, examine, examine_file
from inspector.doctor.finding import Finding, Grade, status_of, worst


def good(name: str) -> Finding:
    return Finding("clock", name, Grade.GOOD, "right")


def check(name, run, within_s=60.0):
    return Check("clock", name, within_s, run)


def test_findings_come_in_the_order_of_the_checks_though_the_first_takes_longest():
    second = threading.Event()

    def slow():
        assert second.wait(60)
        yield good("slow")

    def quick():
        yield good("quick")
        second.set()

    assert [f.name for f in examine([check("a", slow), check("b", quick)])] == ["slow", "quick"]


def test_a_check_that_hangs_is_told_with_what_it_had_said():
    release = threading.Event()

    def hangs():
        yield good("first")
        release.wait(60)

    findings = examine([check("a", hangs, 0.2), check("b", lambda: [good("other")])])
    release.set()
    assert [(f.name, f.grade.word) for f in findings] == [
        ("first", "good"), ("a", "mend"), ("other", "good"),
    ]  # fmt: skip
    assert findings[1].found == "no answer within 0.2 s"


def test_a_check_that_fails_says_so_without_its_message():
    def fails():
        raise RuntimeError("rtsp://operator:hunter2@camera")

    findings = examine([check("a", fails), check("b", lambda: [good("other")])])
    assert [f.grade.word for f in findings] == ["mend", "good"]
    assert findings[0].found == "this check failed: RuntimeError"


@pytest.mark.parametrize(
    ("grades", "status", "word"),
    [
        ([], 0, "good"),
        ([Grade.GOOD, Grade.NOTE], 0, "note"),
        ([Grade.MEND, Grade.GOOD], 1, "mend"),
        ([Grade.MEND, Grade.MISTAKE, Grade.NOTE], 2, "mistake"),
    ],
)
def test_the_worst_decides(grades, status, word):
    findings = [Finding("cpu", "", grade, "") for grade in grades]
    assert status_of(findings) == status
    assert worst(findings).word == word


def test_a_faulty_file_is_told_and_the_box_is_examined_all_the_same(tmp_path):
    path = tmp_path / "station.yaml"
    path.write_text("version: 1\nstation: line-1\ncameras: {}\nmode: watch\n")
    findings = examine_file(path, Secrets({}), seconds=1)
    assert [f.subject for f in findings] == ["file", "file", "clock", "cpu"]
    assert status_of(findings) == 2
    assert findings[1].found == 'line 4: mode: got "watch", expected "inspect" or "observe"'
