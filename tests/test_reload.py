"""Reloads over a real file and journal, and a lineup that does what it is told."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from structlog.testing import capture_logs

from inspector import reload as reload_module
from inspector.capture.status import DROP_CAUSES, Counters
from inspector.config import settled
from inspector.config.load import load_station
from inspector.config.secrets import Secrets
from inspector.errors import CaptureError
from inspector.journal import Journal
from inspector.observe.health import Phase
from inspector.reload import Reloads
from inspector.station import Station

if TYPE_CHECKING:
    from pathlib import Path

    from inspector.config.changes import Plan
    from inspector.config.station import Station as Config

LAST = Counters(5, 5, dict.fromkeys(DROP_CAUSES, 0), 0)
PATTERN = {"source": {"kind": "pattern"}}


class SmallLineup:
    """Takes every plan; removed cameras are gone as soon as `gone` says so."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.fault: Exception | None = None
        self.forgotten: list[str] = []
        self.futures: dict[str, Future[Counters]] = {}
        self.at_once = True

    def stale_logins(self) -> frozenset[str]:
        return frozenset()

    def change(self, config: Config, plan: Plan) -> dict[str, Future[Counters]]:
        if self.fault:
            raise self.fault
        self.config = config
        leaving: dict[str, Future[Counters]] = {name: Future() for name in plan.removed}
        self.futures |= leaving
        if self.at_once:
            self.all_gone()
        return leaving

    def all_gone(self) -> None:
        for future in self.futures.values():
            if not future.done():
                future.set_result(LAST)

    def forget(self, camera: str) -> None:
        self.forgotten.append(camera)


class Office:
    """A station file, its reloads, and what they applied."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "station.yaml"
        self.write(cameras={"a": PATTERN})
        self.lineup = SmallLineup(load_station(self.file))
        self.applied: list[Config] = []
        self.slept: list[float] = []
        self.on_sleep: Any = lambda: None
        self.giving_up = False
        self.journal = Journal(folder)
        self.reloads = Reloads(
            self.file,
            Secrets({}),
            self.lineup,
            self.journal,
            on_applied=self.applied.append,
            giving_up=lambda: self.giving_up,
            sleep=self._sleep,
        )

    def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.on_sleep()

    def write(self, *, settled: bool = True, **keys: Any) -> None:
        self.file.write_text(yaml.safe_dump({"version": 1, "station": "s", **keys}))
        if settled:
            os.utime(self.file, (time.time() - 60, time.time() - 60))

    def fact(self) -> tuple[bool, str]:
        fact = self.reloads.facts()[0]
        return fact.ok, fact.detail


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


def test_a_change_is_applied_journaled_and_told(office: Office) -> None:
    office.write(cameras={"b": PATTERN}, policies={"default": {"needed": 2}})
    with capture_logs() as logs:
        outcome = office.reloads.reload("SIGHUP")
    assert outcome.word == "applied"
    assert outcome.detail == "3 keys changed; added b; removed a"
    assert outcome.left == {"a": LAST}
    assert office.lineup.forgotten == ["a"]
    assert list(office.applied[0].cameras) == ["b"]
    entry = office.journal.newest(1)[0]
    assert (entry["from"], entry["file"]) == ("SIGHUP", str(office.file))
    assert [change["key"] for change in entry["changes"]] == [
        "cameras.a", "cameras.b", "policies.default.needed",
    ]  # fmt: skip
    removed, said = logs
    assert (removed["event"], removed["camera"], removed["frames_in"]) == ("camera removed", "a", 5)
    assert said["changes"][2] == "policies.default.needed: 3 → 2"
    assert office.fact()[0]


def test_a_file_that_says_the_same_changes_nothing(office: Office) -> None:
    assert office.reloads.reload("SIGHUP").word == "unchanged"
    assert office.applied == []
    assert office.journal.newest(1) == []
    assert office.fact()[1].startswith("unchanged at ")


def test_a_faulty_file_is_refused_with_all_faults_until_a_good_one_comes(office: Office) -> None:
    office.write(cameras={n: {"source": {"kind": "pattern"}, "slots": 1} for n in "abcdefg"})
    with capture_logs() as logs:
        outcome = office.reloads.reload("HTTP 127.0.0.1")
    assert outcome.word == "refused"
    assert len(outcome.faults) == len(logs[0]["faults"]) == 7
    assert "line 3: cameras.a.slots: got the number 1, expected at least 2" in outcome.detail
    ok, detail = office.fact()
    assert not ok
    assert detail.endswith("; 2 more")
    assert not office.reloads.facts()[0].gates
    office.write(cameras={"a": PATTERN})
    office.reloads.reload("SIGHUP")
    assert office.fact()[0]


def test_what_takes_a_restart_is_refused_as_a_whole(office: Office) -> None:
    office.write(cameras={"a": PATTERN, "b": PATTERN}, mode="observe", web={"listen": "[::1]:1"})
    outcome = office.reloads.reload("SIGHUP")
    assert outcome.word == "restart needed"
    mode, listen = map(str, outcome.faults)
    assert mode == 'line 6: mode: "inspect" → "observe"; restart the station for that'
    assert listen.startswith('line 10: web.listen: "127.0.0.1:8787" → "[::1]:1"; restart')
    assert office.applied == []
    assert office.journal.newest(1) == []


def test_a_stage_that_cannot_change_now_leaves_all_as_it_was(office: Office) -> None:
    office.write(cameras={"b": PATTERN})
    office.lineup.fault = CaptureError("the capture stage is stopping")
    assert office.reloads.reload("SIGHUP").word == "not now"
    assert office.applied == []
    office.lineup.fault = RuntimeError("a bug")
    with capture_logs() as logs:
        assert office.reloads.reload("SIGHUP").word == "refused"
    assert logs[0]["event"] == "a reload failed"
    office.lineup.fault = None
    assert office.reloads.reload("SIGHUP").word == "applied", "the turn was given back"


def test_a_change_that_the_disk_does_not_take_is_applied_and_told(office: Office) -> None:
    office.write(cameras={"a": PATTERN, "b": PATTERN})
    blocked = office.file.parent / "journal.jsonl"
    blocked.mkdir()
    assert office.reloads.reload("SIGHUP").word == "applied"
    fact = office.reloads.facts()[1]
    assert (fact.name, fact.ok, fact.gates) == ("journal", False, False)
    assert "a change is not in the journal" in fact.detail
    blocked.rmdir()
    office.write(cameras={"a": PATTERN})
    office.reloads.reload("SIGHUP")
    assert len(office.reloads.facts()) == 1


def test_a_file_that_is_being_written_is_waited_for(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settled, "SETTLED_S", 30.0)  # it is looked at within that
    office.write(settled=False, cameras={"a": PATTERN, "half": {}})
    office.on_sleep = lambda: office.write(cameras={"a": PATTERN, "b": PATTERN})
    assert office.reloads.reload("SIGHUP").word == "applied"
    assert len(office.slept) == 1
    assert 0 < office.slept[0] <= settled.SETTLED_S


def test_a_removed_camera_that_holds_frames_is_forgotten_later(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reload_module, "GONE_S", 0.01)
    office.lineup.at_once = False
    office.write(cameras={"b": PATTERN})
    outcome = office.reloads.reload("SIGHUP")
    assert (outcome.word, outcome.left) == ("applied", {})
    assert office.lineup.forgotten == []
    office.lineup.all_gone()
    office.reloads.reload("SIGHUP")
    assert office.lineup.forgotten == ["a"]


def test_a_camera_that_came_back_meanwhile_is_not_forgotten(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reload_module, "GONE_S", 0.01)
    office.lineup.at_once = False
    office.write(cameras={"b": PATTERN})
    office.reloads.reload("SIGHUP")
    office.write(cameras={"a": PATTERN, "b": PATTERN})
    office.reloads.reload("SIGHUP")
    office.lineup.all_gone()
    office.reloads.reload("SIGHUP")
    assert office.lineup.forgotten == []


def test_a_station_that_ends_is_not_kept_by_removed_cameras(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reload_module, "GONE_S", 60.0)
    office.lineup.at_once = False
    office.giving_up = True
    office.write(cameras={"b": PATTERN})
    began = time.monotonic()
    assert office.reloads.reload("SIGHUP").word == "applied"
    assert time.monotonic() - began < reload_module.GONE_S


def test_a_second_reload_waits_for_the_first(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    first_is_in, go_on = threading.Event(), threading.Event()

    def sleep() -> None:
        first_is_in.set()
        go_on.wait(60)

    office.on_sleep = sleep
    monkeypatch.setattr(settled, "SETTLED_S", 30.0)  # it is looked at within that
    office.write(settled=False, cameras={"b": PATTERN})
    first = threading.Thread(target=office.reloads.reload, args=("first",))
    first.start()
    assert first_is_in.wait(60)
    monkeypatch.setattr(reload_module, "TURN_S", 0.01)
    refused = office.reloads.reload("impatient")
    assert (refused.word, "another reload" in refused.detail) == ("not now", True)
    monkeypatch.setattr(reload_module, "TURN_S", 60.0)
    words: list[str] = []
    second = threading.Thread(target=lambda: words.append(office.reloads.reload("second").word))
    second.start()
    office.on_sleep = lambda: None
    go_on.set()
    first.join(60)
    second.join(60)
    assert words == ["unchanged"]
    assert [entry["from"] for entry in office.journal.newest(5)] == ["first"]


def test_a_station_that_starts_or_stops_takes_no_file(tmp_path: Path) -> None:
    office = Office(tmp_path)
    config = load_station(office.file).model_copy(update={"state": tmp_path / "state"})
    station = Station(config, Secrets({}), file=office.file)
    starting = station.reload("HTTP 127.0.0.1")
    assert (starting.word, starting.detail) == ("not now", "the station is starting: starting")
    station.health.phase, station.health.step = Phase.STOPPING, "stopping"
    assert station.reload("SIGHUP").detail == "the station is stopping: stopping"
    assert "no file" in Station(config, Secrets({})).reload("SIGHUP").detail
