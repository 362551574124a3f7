from __future__ import annotations

import json

from structlog.testing import capture_logs

from inspector.observe import logging
from inspector.signaller.narration import Thinned
from inspector.signaller.service import HANDLED, open_handled
from tests.servers.disk import occupy


def test_a_broken_file_of_handled_events_is_put_aside_and_a_new_one_begun(tmp_path):
    file = tmp_path / HANDLED
    file.write_bytes(b"no database" * 100)
    seen = open_handled(file, 1000)
    seen.add("a")
    seen.close()
    again = open_handled(file, 1000)
    assert "a" in again
    again.close()
    (aside,) = tmp_path.glob("*.corrupt-*")
    assert aside.read_bytes().startswith(b"no database")


def test_on_a_full_disk_they_are_kept_in_memory_and_no_file_is_put_aside(small_disk):
    """The line goes on: it need not stand for a memory of ids."""
    file = small_disk / HANDLED
    seen = open_handled(file, 100_000)
    seen.add("a")
    seen.close()
    hog = occupy(small_disk)
    with capture_logs() as logs:
        full = open_handled(file, 100_000)
    assert ["memory alone" in log["event"] for log in logs] == [True]
    full.add("b")
    assert "b" in full
    full.close()
    hog.unlink()
    again = open_handled(file, 100_000)
    assert "a" in again
    occupy(small_disk)
    with capture_logs() as logs:
        for number in range(50_000):
            again.add(f"c{number}")
    assert [log["log_level"] for log in logs] == ["error"]
    assert "c49999" in again
    again.close()
    assert not list(small_disk.glob("*.corrupt-*"))


def test_warnings_that_are_alike_are_a_line_a_second_with_a_count(capsys):
    logging.configure("json")
    now_s = 0.0
    say = Thinned(lambda: now_s)
    for step in range(30):
        now_s = step / 10
        say.warn("too late", id=step)
        say.warn("no event")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    late = [
        (line["id"], line.get("more_before")) for line in lines if line["message"] == "too late"
    ]
    assert late == [(0, None), (10, 9), (20, 9)]
    assert sum(line["message"] == "no event" for line in lines) == 3
