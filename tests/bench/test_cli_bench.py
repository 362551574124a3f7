"""`inspector bench`: that it runs and what it tells. How fast this machine is, is no test."""

from __future__ import annotations

import json
import os

import pytest

from inspector.bench.processes import children, cpu_s, pss_bytes
from inspector.bench.setting import Setting
from inspector.bench.suite import LONG, MEASUREMENTS
from inspector.cli import bench, status_of
from tests.engine.conftest import engines  # noqa: F401 - a fixture


@pytest.fixture
def measured(engines, tmp_path, capfd):  # noqa: F811 - the fixture above
    def run(*names, seconds="0.05"):
        status = status_of(
            [
                "bench", *names, "--json", "--engine", "tiny", "--engines", str(engines),
                "--seconds", seconds, "--rounds", "2", "--folder", str(tmp_path),
            ]
        )  # fmt: skip
        out, err = capfd.readouterr()
        assert status == 0, err
        assert list(tmp_path.iterdir()) == [], "nothing is left behind"
        answer = json.loads(out)
        assert set(answer["machine"]) == {
            "version", "date_utc", "processors", "processor", "python", "load_1_min",
            "load_1_min_after",
        }  # fmt: skip
        for figure in answer["figures"]:
            assert set(figure) == {
                "name", "what", "measured", "bound", "at_least", "unit", "details", "met", "miss",
            }  # fmt: skip
            assert figure["met"] is (figure["miss"] == 0)
        return {figure["name"]: figure for figure in answer["figures"]}

    return run


def test_the_pipeline_and_the_bare_engine(measured):
    figures = measured("pipeline")
    assert [f["bound"] for f in figures.values()] == [0.95, 0.90]
    for figure in figures.values():
        assert figure["measured"] > 0
        assert figure["details"]["accepted_share"] == 1.0
        assert figure["details"]["pipeline_frames_per_s"] > 0


def test_a_camera_faster_than_the_engine(measured):
    (figure,) = measured("overload", seconds="0.3").values()
    details = figure["details"]
    assert details["judged"] > 0
    assert details["age_ms_p50"] <= details["age_ms_p99"]
    assert details["dropped"] >= details["superseded"]


def test_events_with_the_broker_down(measured):
    figures = measured("outbox")
    hand_over, durable = figures["outbox, hand-over"], figures["outbox, durable"]
    assert (hand_over["bound"], hand_over["unit"]) == (1.0, "ms")
    assert (durable["bound"], durable["at_least"]) == (500.0, True)
    assert durable["measured"] > 0


@pytest.fixture
def small(engines, tmp_path):  # noqa: F811 - the fixture above
    """Pictures of 320x240, and as little time as will do."""
    return Setting(
        tmp_path, engine="tiny", engines=engines, seconds=0.1, rounds=2, size_wh=(320, 240),
        soak_frames=300,
    )  # fmt: skip


def test_capture_and_decode(small):
    (figure,) = MEASUREMENTS["decode"](small)
    assert figure.bound == 1.25
    assert figure.measured > 0
    assert figure.details["worker_ms"] > 0


def test_an_idle_station(small):
    memory, idle = MEASUREMENTS["idle"](small)
    assert (memory.bound, memory.unit, idle.bound) == (130.0, "MB", 0.35)
    assert len(memory.details["workers_mb"]) == 4
    assert memory.measured == max(memory.details["workers_mb"])
    assert idle.details["frames_in_per_s"] > 0


def test_growth_of_memory(small):
    (figure,) = MEASUREMENTS["soak"](small)
    assert figure.bound == 0.02
    assert figure.details["frames"] >= 300
    assert figure.details["first_mb"] > 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["speed"], "there is no measurement speed, expected one of pipeline, overload"),
        (["outbox", "--folder", "/nowhere"], "/nowhere is no folder"),
        (["pipeline", "--engine", "giant"], "no engine giant"),
    ],
)
def test_a_users_mistake(arguments, said, capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert status_of(["bench", *arguments]) == 2
    assert said in capfd.readouterr().err


def test_strict_turns_a_missed_bound_into_a_status(capfd, tmp_path, monkeypatch):
    monkeypatch.setattr("inspector.bench.outbox.DURABLE_PER_S", 1e12)
    command = ["bench", "outbox", "--seconds", "0.05", "--folder", str(tmp_path)]
    assert status_of(command) == 0
    out = capfd.readouterr().out
    assert "missed by" in out
    assert status_of([*command, "--strict"]) == 1


def test_the_names_of_the_command_are_those_of_the_measurements():
    assert tuple(MEASUREMENTS) == bench.NAMES
    assert set(LONG) < set(MEASUREMENTS)


def test_costs_of_this_process():
    pid = os.getpid()
    assert cpu_s(pid) > 0
    assert 1e6 < pss_bytes(pid) < 1e11
    assert pid not in children(pid)
