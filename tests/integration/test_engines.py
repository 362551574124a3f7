"""Stations whose engine is lost, replaced and brought back while they judge, from the outside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import httpx
import pytest

from tests.engine import tiny_engine
from tests.engine.nvidia import libraries
from tests.engine.test_golden import change_golden
from tests.integration.kafka_reading import outbox_events
from tests.integration.station_process import JSON, StationProcess

OTHER = (*tiny_engine.CLASSES[1:], tiny_engine.CLASSES[0])
"""What `first` calls `gblur` is `jp2k` to `second`."""


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    """Blurred pictures, one after the other, for an engine in a process of its own."""
    engines = tmp_path / "engines"
    tiny_engine.make(engines, "first")
    tiny_engine.make(engines, "second", classes=OTHER)
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    cv2.imwrite(str(pictures / "0.png"), tiny_engine.picture("gblur"))
    folder = {"kind": "images", "folder": str(pictures), "loop": True, "every_s": 0.02}
    live = {"kind": "pattern", "width": 128, "height": 96, "fps": 25}
    return {
        "engine": {
            "screen": "first",
            "folder": str(engines),
            "precision": "fp32",
            "threads": 1,
            "own_process": True,
        },
        "cameras": {"infeed": {"source": folder}, "outfeed": {"source": live}},
    }


def engine_processes(station: StationProcess) -> list[int]:
    """Process ids of the station's engine processes."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            arguments = (path / "cmdline").read_bytes()
        except (OSError, ValueError):
            continue
        if parent == station.process.pid and b"inspector.engine.process.child" in arguments:
            found.append(int(path.name))
    return found


def screen(station: StationProcess) -> dict[str, Any]:
    return dict(station.get("/api/status").json()["engines"]["screen"])


def fact(station: StationProcess, name: str = "engine screen") -> dict[str, Any]:
    facts = station.get("/readyz").json()["facts"]
    return next((one for one in facts if one["name"] == name), {})


def more_verdicts(station: StationProcess, count: int = 5) -> None:
    """Wait until each camera has some more."""
    for name, camera in station.get("/api/cameras").json().items():
        judged = camera["counters"]["judged"] + count
        station.until(
            f"verdicts of {name}",
            lambda n=name, j=judged: station.camera(n)["counters"]["judged"] >= j,
        )


def books_balance(station: StationProcess) -> dict[str, dict[str, Any]]:
    books = {n: c["counters"] for n, c in station.get("/api/cameras").json().items()}
    for one in books.values():
        accounted = one["judged"] + sum(one["dropped"].values()) + one["in_flight"]
        assert one["frames_in"] == accounted
    return books


def label(station: StationProcess) -> str | None:
    last = station.camera("infeed")["last_verdict"]
    return last["label"] if last else None


def post(station: StationProcess, path: str, **body: str) -> httpx.Response:
    return httpx.post(station.page + path, json=body, timeout=60)


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "inspector.cli", "engines", *arguments],
        capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP, signal.SIGSEGV])
def test_a_lost_engine_process_costs_no_frame_and_is_replaced(
    config: dict[str, Any], tmp_path: Path, number: int
) -> None:
    with StationProcess(tmp_path, config) as station:
        station.wait_ready()
        more_verdicts(station)
        (pid,) = engine_processes(station)
        assert fact(station)["ok"]
        home = tmp_path / "engines" / "first"
        away = home.rename(tmp_path / "away")  # so that it is not back before we have looked
        os.kill(pid, number)
        said = station.until("degraded", lambda: not (one := fact(station))["ok"] and one)
        assert "openvino stands in" in said["detail"]
        books_balance(station)
        away.rename(home)
        station.until("fresh process", lambda: fact(station)["ok"])
        more_verdicts(station)
        assert not screen(station)["degraded"]
        (fresh,) = engine_processes(station)
        assert fresh != pid
        for one in books_balance(station).values():
            assert one["dropped"]["engine_error"] == one["dropped"]["worker_lost"] == 0
        metrics = station.get("/metrics").text
        assert 'inspector_engine_changes_total{change="lost",stage="screen"} 1.0' in metrics
        assert 'inspector_engine_changes_total{change="restored",stage="screen"} 1.0' in metrics
        assert "\ninspector_degraded 0.0\n" in metrics
        assert station.get("/readyz").status_code == 200
        assert station.terminate() == 0
        assert not Path(f"/proc/{fresh}").exists()
    told = [row["event"]["data"] for row in outbox_events(station.file)]
    engines = [data["engine"] for data in told if "sequence" in data]
    assert {engine["degraded"] for engine in engines} == {True, False}
    words = [line["message"] for line in station.log()]
    assert words.index("engine lost") < words.index("engine restored")


def test_without_a_fallback_frames_are_counted_until_the_engine_is_back(
    config: dict[str, Any], tmp_path: Path
) -> None:
    config["engine"]["fallback"] = "none"
    with StationProcess(tmp_path, config) as station:
        station.wait_ready()
        more_verdicts(station)
        (pid,) = engine_processes(station)
        home = tmp_path / "engines" / "first"
        away = home.rename(tmp_path / "away")  # so that it is not back before we have looked
        os.kill(pid, signal.SIGKILL)
        station.until("fault", lambda: station.get("/readyz").status_code == 503)
        station.until("reason", lambda: "killed by signal 9" in fact(station, "judging")["detail"])
        away.rename(home)
        station.until("readiness", lambda: station.get("/readyz").status_code == 200)
        books = books_balance(station)
        assert sum(one["dropped"]["engine_error"] for one in books.values()) > 0
        assert station.terminate() == 0


def test_an_engine_is_activated_and_stays_over_a_restart(
    config: dict[str, Any], tmp_path: Path
) -> None:
    config["web"] = {"listen": "127.0.0.1:0", "token": "WEB_T"}
    headers = {"authorization": "Bearer hunter2"}

    def now(station: StationProcess) -> str:
        return str(station.get("/api/status", headers).json()["engines"]["screen"]["name"])

    def said(station: StationProcess) -> str | None:
        last = station.get("/api/cameras/infeed", headers).json()["last_verdict"]
        return last["label"] if last else None

    os.environ["WEB_T"] = "hunter2"
    try:
        with StationProcess(tmp_path, config) as station:
            station.wait_ready()
            station.until("verdict of the first", lambda: said(station) == "gblur")
            asked = ("activate", "second", "--url", station.page)
            assert "asks for its token" in command(*asked).stderr
            done = command(*asked, "--token", "WEB_T")
            assert (done.returncode, done.stderr) == (0, "")
            assert done.stdout == "screen: second 0.1.0 judges (before: first 0.1.0)\n"
            station.until("verdict of the second", lambda: said(station) == "jp2k")
            assert station.terminate() == 0
        with StationProcess(tmp_path, config) as station:
            station.wait_ready()
            assert now(station) == "second"
            facts = station.get("/readyz").json()["facts"]
            detail = next(one["detail"] for one in facts if one["name"] == "engine screen")
            assert "the station file names first" in detail
            back = command("rollback", "--url", station.page, "--token", "WEB_T", "--json")
            assert json.loads(back.stdout)["outcome"] == "rolled back"
            assert json.loads(back.stdout)["engine"]["name"] == "first"
            station.until("verdict of the first", lambda: said(station) == "gblur")
            again = command("rollback", "--url", station.page, "--token", "WEB_T")
            assert again.returncode == 1
            assert "no engine was activated" in again.stderr
            journal = station.get("/api/journal", headers).json()
            assert [entry["engine"] for entry in journal] == ["rolled back", "activated"]
            assert journal[1]["changes"][0]["new"]["name"] == "second"
            assert station.terminate() == 0
        with StationProcess(tmp_path, config) as station:
            station.wait_ready()
            assert now(station) == "first"
            assert station.terminate() == 0
    finally:
        del os.environ["WEB_T"]


def test_what_cannot_judge_here_is_refused_and_the_present_one_goes_on(
    config: dict[str, Any], tmp_path: Path
) -> None:
    engines = tmp_path / "engines"
    change_golden(
        tiny_engine.make(engines, "liar"), lambda tiles: tiles[0]["probabilities"].reverse()
    )
    strange = (*OTHER[:-1], "scratch")
    tiny_engine.make(engines, "strange", classes=strange)
    del config["engine"]["own_process"]
    config["policies"] = {"default": {"reject": ["gblur", "bad_lighting"]}}
    with StationProcess(tmp_path, config) as station:
        station.wait_ready()
        for name, body, status, said in (
            ("liar", {}, 422, "does not reproduce its golden tiles"),
            ("strange", {}, 422, "has no bad_lighting, which policy default of camera"),
            ("none", {}, 404, "no engine none in"),
            ("second", {"stage": "confirm"}, 422, "no confirm engine"),
        ):
            answer = post(station, f"/api/engines/{name}/activate", **body)
            assert (answer.status_code, said in answer.json()["detail"]) == (status, True), answer
        foreign = httpx.post(
            f"{station.page}/api/engines/second/activate",
            headers=JSON | {"origin": "http://elsewhere"},
        )
        assert foreign.status_code == 403
        assert post(station, "/api/engines/rollback").status_code == 422
        assert command("activate", "none", "--url", station.page).returncode == 2
        more_verdicts(station)
        assert screen(station)["name"] == "first"
        assert screen(station)["changes"] == {}
        assert label(station) == "gblur"
        assert station.get("/api/journal").json() == []
        assert station.terminate() == 0


def test_an_activated_engine_that_crashes_makes_room_for_the_one_before(
    config: dict[str, Any], tmp_path: Path
) -> None:
    with StationProcess(tmp_path, config) as station:
        station.wait_ready()
        (first,) = engine_processes(station)
        assert post(station, "/api/engines/second/activate").status_code == 200
        assert screen(station)["before"]["name"] == "first"
        station.until("verdict of the second", lambda: label(station) == "jp2k")
        (second,) = {*engine_processes(station)} - {first}
        os.kill(second, signal.SIGKILL)
        station.until("verdict of the first", lambda: label(station) == "gblur")
        station.until("journal", lambda: len(station.get("/api/journal").json()) == 2)
        entry = station.get("/api/journal").json()[0]
        assert entry["engine"] == "rolled back"
        assert "killed by signal 9" in entry["from"]
        assert screen(station)["before"] is None
        station.until("end of the second", lambda: engine_processes(station) == [first])
        for one in books_balance(station).values():
            assert one["dropped"]["engine_error"] == 0
        assert station.terminate() == 0
    with StationProcess(tmp_path, config) as station:
        station.wait_ready()
        assert screen(station)["name"] == "first"
        assert station.terminate() == 0


def test_an_activated_engine_that_is_gone_at_the_next_start(
    config: dict[str, Any], tmp_path: Path
) -> None:
    with StationProcess(tmp_path, config) as station:
        station.wait_ready()
        assert post(station, "/api/engines/second/activate").status_code == 200
        assert station.terminate() == 0
    (tmp_path / "engines" / "second").rename(tmp_path / "elsewhere")
    with StationProcess(tmp_path, config) as station:
        station.wait_ready()
        assert screen(station)["name"] == "first"
        assert screen(station)["degraded"]
        assert "second was activated on" in fact(station)["detail"]
        assert "first judges, which the station file names" in fact(station)["detail"]
        assert station.terminate() == 0


LACKING = {
    "no driver": ((), None, "there is no NVIDIA driver: libcuda.so.1"),
    "no device": (("10",), "none", "the NVIDIA driver finds no GPU (CUDA_ERROR_NO_DEVICE)"),
    "no libraries": ((), "one", "TensorRT cannot be loaded: No module named 'tensorrt'"),
    "no PyCUDA": (("11",), "one", "PyCUDA cannot be loaded: No module named 'pycuda'"),
    "old library": (("old",), "one", "TensorRT is 10.9.0.34, expected 10.13 or later, below 12"),
    "old driver": (("10",), "one", "TensorRT 10.15.1.29 was made for CUDA 13, driver of "),
}


@pytest.mark.parametrize("lacking", LACKING)
def test_what_tensorrt_lacks_is_said_and_the_station_judges_or_ends_with_status_3(
    config: dict[str, Any], tmp_path: Path, lacking: str
) -> None:
    """With the real bindings of TensorRT, and a driver of the tests' own."""
    parts, driver, why = LACKING[lacking]
    env = libraries.environment(*parts, driver=driver)
    if lacking == "old driver":
        env["STUB_CUDA_VERSION"] = "12020"
    config["engine"]["runtime"] = "tensorrt"
    with StationProcess(tmp_path, config, env) as station:
        station.wait_ready()
        assert (
            f"openvino judges, not tensorrt: TensorRT cannot run here: {why}"
            in fact(station)["detail"]
        )
        station.until("verdict", lambda: label(station))
        assert station.terminate() == 0
    config["engine"]["fallback"] = "none"
    with StationProcess(tmp_path, config, env) as station:
        assert station.process.wait(60) == 3
        told = station.log()[-1]["message"]
        assert told.startswith("inspector: engine first: TensorRT cannot run here: ")
        assert why in told
        assert "Traceback" not in station.log_path.read_text()
