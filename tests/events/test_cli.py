from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from inspector.cli import status_of
from inspector.events.reading import Reader
from inspector.events.store import FILE
from tests.events.making import open_outbox
from tests.events.test_outbox import wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from inspector.events.documents import Event
    from inspector.events.outbox import Outbox
    from inspector.events.reading import Row
    from tests.events.making import Maker


@pytest.fixture
def events(outbox: Outbox, make: Maker) -> list[Event]:
    """Five events: two sent, one parked, two waiting."""
    made = [
        make("frame_rejected"),
        make("quality_degraded"),
        make("frame_rejected", camera="outfeed"),
        make("camera_lost"),
        make("station_status"),
    ]
    outbox.append(made).result(60)
    rows = outbox.hand_out(0, 9)
    outbox.mark_sent([rows[0].seq, rows[1].seq])
    outbox.park(rows[2].seq, "MessageSizeTooLargeError: too large")
    wait_until(lambda: outbox.stats().waiting == 2)
    outbox.take_back([row.seq for row in rows])
    return made


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_list_shows_every_event_with_its_state(
    events: list[Event], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of(["events", "list", "--state", str(folder), "--json"]) == 0
    shown = lines(capsys)
    assert [s["event"] for s in shown] == [e.document for e in events]
    assert [s["state"] for s in shown] == ["sent", "sent", "parked", "waiting", "waiting"]


def test_list_is_readable_by_people(
    events: list[Event], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of(["events", "list", "--state", str(folder)]) == 0
    shown = capsys.readouterr().out
    for word in ("frame.rejected", "quality.degraded", "rejected gblur 0.97", events[0].id):
        assert word in shown


def test_events_of_a_stopped_station_are_read_by_whoever_may_only_read(
    events: list[Event],
    outbox: Outbox,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    outbox.close(60)
    there = {path.name for path in folder.iterdir()}
    monkeypatch.setattr("os.access", lambda _path, mode, **_: mode != os.W_OK)
    read = Reader(folder / FILE)
    assert [row.id for row in read.rows("1", ())] == [event.id for event in events]
    assert {path.name for path in folder.iterdir()} == there, "nothing is made to read it"
    read.close()
    assert status_of(["events", "list", "--state", str(folder), "--json"]) == 0
    assert len(lines(capsys)) == len(events)


def test_list_by_type_time_and_number(
    events: list[Event], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = ["--state", str(folder), "--json"]
    status_of(["events", "list", *state, "--type", "frame.rejected", "--limit", "1"])
    assert [s["event"] for s in lines(capsys)] == [events[2].document]
    status_of(["events", "list", *state, "--until", "1h"])
    assert lines(capsys) == []
    status_of(["events", "list", *state, "--since", "2020-01-01T00:00Z"])
    assert len(lines(capsys)) == 5


def test_parked_says_why(
    events: list[Event], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status_of(["events", "parked", "--state", str(folder), "--json"])
    (shown,) = lines(capsys)
    assert shown["event"] == events[2].document
    assert shown["reason"] == "MessageSizeTooLargeError: too large"
    status_of(["events", "parked", "--state", str(folder)])
    assert "too large" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("options", "again"),
    [
        (["--parked"], [2]),
        (["--type", "frame.rejected"], [0, 2]),
        (["--since", "1h"], [0, 1, 2]),
        (["--until", "1h"], []),
        (["--type", "quality.degraded", "--since", "1h"], [1]),
    ],
)
def test_resend_while_the_station_runs(
    events: list[Event],
    outbox: Outbox,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    again: list[int],
) -> None:
    assert status_of(["events", "resend", "--state", str(folder), "--json", *options]) == 0
    assert lines(capsys) == [{"resent": len(again)}]
    waiting = {row.id for row in outbox.hand_out(0, 99)}
    assert waiting == {events[n].id for n in (*again, 3, 4)}


def test_resend_by_id(
    events: list[Event], outbox: Outbox, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["events", "resend", "--state", str(folder), "--id", events[0].id]
    assert status_of(asked) == 0
    assert "1 event will be sent again" in capsys.readouterr().out
    unknown = "01a20ad3-186e-7768-947b-d3536dcafcbf"
    assert status_of([*asked, "--id", unknown]) == 2
    assert "not in the outbox, or still wait" in capsys.readouterr().err


def test_a_station_file_names_the_outbox(
    tmp_path: Path, make: Maker, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "station.yaml"
    file.write_text(
        "version: 1\nstation: packing-07\nstate: here\n"
        "cameras: {infeed: {source: {kind: pattern}}}\n"
    )
    box = open_outbox(tmp_path / "here")
    event = make()
    box.append([event]).result(60)
    box.close()
    assert status_of(["events", "list", str(file), "--json"]) == 0
    assert [s["event"] for s in lines(capsys)] == [event.document]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["list"], "give its station file, or its state folder with --state"),
        (["list", "--state", "nowhere"], "no outbox in nowhere"),
        (["list", "--state", "STATE", "--type", "frame.lost"], "known: frame.rejected"),
        (["list", "--state", "STATE", "--since", "yesterday"], "'yesterday' is no time"),
        (["resend", "--state", "STATE"], "say which events"),
    ],
)
def test_a_mistake_gives_one_clear_line(
    outbox: Outbox,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    told: str,
) -> None:
    asked = [str(folder) if part == "STATE" else part for part in arguments]
    assert status_of(["events", *asked]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1


def test_a_file_that_is_no_outbox_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "outbox.db").write_bytes(b"junk" * 5000)
    assert status_of(["events", "list", "--state", str(tmp_path)]) == 2
    assert "cannot be read: file is not a database" in capsys.readouterr().err


def test_tail_shows_an_event_that_comes_while_it_begins_once(
    outbox: Outbox,
    folder: Path,
    make: Maker,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Late(Reader):
        """Between the first look and the second an event comes; the fourth is Ctrl-C."""

        looks = 0

        def newest(self, most: int) -> list[Row]:
            found = super().newest(most)
            Late.looks += 1
            if Late.looks == 2:  # the first only proves that the file can be read
                outbox.append([make()]).result(60)
            return found

        def rows(self, condition: str, values: Sequence[object] = ()) -> list[Row]:
            Late.looks += "seq > ?" in condition
            if Late.looks == 5:
                raise KeyboardInterrupt
            return super().rows(condition, values)

    outbox.append(make.many(2)).result(60)
    monkeypatch.setattr("inspector.events.reading.Reader", Late)
    assert status_of(["events", "tail", "--state", str(folder), "--json"]) == 130
    numbers = [json.loads(line)["seq"] for line in capsys.readouterr().out.splitlines()]
    assert numbers == [1, 2, 3]


def test_tail_shows_what_comes(outbox: Outbox, folder: Path, make: Maker) -> None:
    first = make()
    outbox.append([first]).result(60)
    child = subprocess.Popen(
        [sys.executable, "-m", "inspector.cli", "events", "tail", "--state", str(folder), "--json"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert json.loads(child.stdout.readline())["event"] == first.document
    later = make()
    outbox.append([later]).result(60)
    assert json.loads(child.stdout.readline())["event"] == later.document
    child.send_signal(signal.SIGINT)
    assert child.wait(60) == 130
    child.stdout.close()
