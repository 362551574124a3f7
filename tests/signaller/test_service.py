from __future__ import annotations

import json

from inspector.observe import logging
from inspector.signaller.narration import Thinned
from inspector.signaller.service import HANDLED, open_handled


def test_a_broken_file_of_handled_events_is_put_aside_and_a_new_one_begun(tmp_path):
    file = tmp_path / HANDLED
    file.write_bytes(b"no database" * 100)
    seen = open_handled(file, 1000)
    seen.add("a")
    seen.close()
    again = open_handled(file, 1000)
    assert "a" in again
    again.close()
    (aside,) = tmp_path.glob("*.broken-*")
    assert aside.read_bytes().startswith(b"no database")


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
