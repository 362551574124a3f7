"""A running station takes a changed station file: what stays notices nothing."""

from __future__ import annotations

import copy
import json
import os
import pty
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import httpx
import pytest

from tests.engine import tiny_engine
from tests.integration.station_process import StationProcess

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.servers.rtsp import RtspServer

BELT = {"source": {"kind": "pattern", "width": 128, "height": 96, "fps": 5}}


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    """A folder of which each picture is judged, and a live pattern; each verdict is an event."""
    tiny_engine.make(tmp_path / "engines", name="tiny")
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    cv2.imwrite(str(pictures / "0.png"), tiny_engine.picture("gblur"))
    source = {"kind": "images", "folder": str(pictures), "loop": True, "every_s": 0.05}
    return {
        "engine": {"screen": "tiny", "folder": str(tmp_path / "engines"), "threads": 1},
        "cameras": {"folder": {"source": source}, "belt": BELT},
        "events": {"publish_verdicts": True},
    }


def reloads(station: StationProcess) -> list[dict[str, Any]]:
    return [line for line in station.log() if line["message"].startswith("reload: ")]


def hang_up(station: StationProcess) -> dict[str, Any]:
    """SIGHUP; the line that the log then has of it."""
    before = len(reloads(station))
    station.process.send_signal(signal.SIGHUP)
    return dict(station.until("reload", lambda: reloads(station)[before:])[0])


def check_books(station: StationProcess) -> None:
    for name, camera in station.get("/api/cameras").json().items():
        books = camera["counters"]
        accounted = books["judged"] + sum(books["dropped"].values()) + books["in_flight"]
        assert books["frames_in"] == accounted, name


def until_judged(station: StationProcess, name: str, more: int = 3) -> dict[str, Any]:
    """Wait until so many more frames of a camera are judged; its status then."""

    def judged() -> int:
        return int(station.camera(name).get("counters", {"judged": 0})["judged"])

    least = judged() + more
    station.until(f"verdicts of {name}", lambda: judged() >= least)
    check_books(station)
    return station.camera(name)


def file_fact(station: StationProcess) -> dict[str, Any]:
    facts = station.get("/readyz").json()["facts"]
    return next(fact for fact in facts if fact["name"] == "station file")


def judged_frames(station: StationProcess, camera: str) -> list[tuple[int, int]]:
    """Epoch and sequence of a camera's judged frames by the outbox; the station has ended."""
    command = [sys.executable, "-m", "inspector.cli", "events", "list", str(station.file)]
    done = subprocess.run(
        [*command, "--type=frame.judged", "--limit=100000", "--json"],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    events = [json.loads(line)["event"]["data"] for line in done.stdout.splitlines()]
    return sorted((e["stream_epoch"], e["sequence"]) for e in events if e["camera"] == camera)


def apply(station: StationProcess, config: dict[str, Any]) -> dict[str, Any]:
    """Put a file in place and have it applied; what the station answers."""
    station.write(config)
    answer = station.reload()
    assert (answer.status_code, answer.json()["outcome"]) == (200, "applied")
    return dict(answer.json())


@pytest.mark.rtsp
@pytest.mark.timeout(900)
def test_cameras_come_change_and_go_while_the_others_miss_nothing(
    config: dict[str, Any], rtsp_server: Callable[..., RtspServer], tmp_path: Path
) -> None:
    server = rtsp_server({"good": tiny_engine.picture("refimgs", 96, 128)}, fps=5)
    cameras = config["cameras"]
    # A busy machine is no fault of the camera, and what the server shows is one picture.
    patient = {"open_timeout_s": 30, "read_timeout_s": 30, "frozen_after_s": 0}
    source = {"kind": "rtsp", "url": server.url(), **patient}
    cameras["real"] = {"source": source, "max_age_s": 60, "slots": 64, "max_megapixels": 1}
    with StationProcess(tmp_path, config) as station:
        station.wait_ready()
        first = {name: until_judged(station, name)["stream_epoch"] for name in cameras}
        cameras["extra"] = BELT
        station.write(config)
        assert hang_up(station)["added"] == ["extra"]
        until_judged(station, "extra")
        _change_a_camera_and_then_its_policy(station, config, first["belt"])
        _remove_two_cameras(station, config)

        cameras["belt"] = BELT
        apply(station, config)
        assert until_judged(station, "belt")["stream_epoch"] == first["belt"] + 2, "it went on"

        for name in ("folder", "real"):
            camera = until_judged(station, name)
            assert camera["stream_epoch"] == first[name], name
            assert camera["restarts"] == {}, name
            dropped = camera["counters"]["dropped"]
            allowed = dropped["superseded"] if name == "real" else 0
            assert sum(dropped.values()) == allowed, name
        journal = station.get("/api/journal").json()
        assert station.terminate() == 0

    frames = judged_frames(station, "folder")
    assert frames == [(first["folder"], n) for n in range(len(frames))], "in one row, none missing"
    assert {epoch for epoch, _ in judged_frames(station, "real")} == {first["real"]}
    assert [entry["from"] for entry in journal] == ["HTTP 127.0.0.1"] * 4 + ["SIGHUP"]
    assert journal[-1]["changes"][0]["key"] == "cameras.extra"
    assert [entry["cameras"]["added"] for entry in journal] == [["belt"], [], [], [], ["extra"]]
    on_disk = [json.loads(x) for x in (station.state / "journal.jsonl").read_text().splitlines()]
    assert on_disk == journal[::-1]


def _change_a_camera_and_then_its_policy(
    station: StationProcess, config: dict[str, Any], epoch: int
) -> None:
    faster = {"source": BELT["source"] | {"fps": 8}, "slots": 4}
    config["cameras"]["belt"] = faster
    answer = apply(station, config)
    assert answer["cameras"] == {"added": [], "removed": [], "restarted": ["belt"]}
    assert answer["changes"] == [
        {"key": "cameras.belt.source.fps", "old": 5.0, "new": 8.0},
        {"key": "cameras.belt.slots", "old": 6, "new": 4},
    ]
    station.until("epoch", lambda: station.camera("belt")["stream_epoch"] == epoch + 1)
    assert until_judged(station, "belt")["restarts"] == {}

    config["policies"] = {"default": {"needed": 5}, "strict": {"needed": 1, "window": 1}}
    config["cameras"]["belt"] = faster | {"policy": "strict"}
    answer = apply(station, config)
    assert answer["cameras"] == {"added": [], "removed": [], "restarted": []}
    assert until_judged(station, "belt")["stream_epoch"] == epoch + 1


def test_delay_and_deadline_of_triggers_change_without_a_missed_frame(
    config: dict[str, Any], tmp_path: Path
) -> None:
    """`rare` gives one picture an hour: a trigger of it waits for as long as its deadline says."""
    folder = config["cameras"]["folder"]
    rare = {"source": folder["source"] | {"every_s": 3600}, "inspect": {"deadline_ms": 60_000}}
    folder["inspect"] = {"deadline_ms": 50_000}
    config["cameras"]["rare"] = rare
    with StationProcess(tmp_path, config) as station:
        station.wait_ready()
        epoch = until_judged(station, "folder")["stream_epoch"]
        station.until("its picture", lambda: station.camera("rare")["counters"]["judged"])
        folder["camera_delay_ms"] = 600
        rare["inspect"] = {"deadline_ms": 300}
        answer = apply(station, config)
        assert answer["cameras"] == {"added": [], "removed": [], "restarted": []}
        assert {change["key"] for change in answer["changes"]} == {
            "cameras.folder.camera_delay_ms", "cameras.rare.inspect.deadline_ms",
        }  # fmt: skip
        later, missed = inspect(station, "folder"), inspect(station, "rare")
        assert (later["verdict"], missed["verdict"]) == ("rejected", "unjudgeable")
        assert later["waited_ms"] >= 600
        assert "within 300 ms (inspect.deadline_ms)" in missed["reasons"][0]
        assert until_judged(station, "folder")["stream_epoch"] == epoch
        assert station.terminate() == 0
    frames = judged_frames(station, "folder")
    assert frames == [(epoch, n) for n in range(len(frames))], "in one row, none missing"


def inspect(station: StationProcess, camera: str) -> dict[str, Any]:
    """The answer to a trigger."""
    url = f"{station.page}/api/cameras/{camera}/inspect"
    return dict(httpx.post(url, json={}, timeout=90).json())


def _remove_two_cameras(station: StationProcess, config: dict[str, Any]) -> None:
    del config["cameras"]["extra"], config["cameras"]["belt"]
    answer = apply(station, config)
    assert set(answer["left"]) == {"extra", "belt"}
    for books in answer["left"].values():
        assert books["in_flight"] == 0
        assert books["judged"] + sum(books["dropped"].values()) == books["frames_in"]
        assert books["dropped"]["worker_lost"] == 0
    assert set(station.get("/api/cameras").json()) == {"folder", "real"}
    metrics = station.get("/metrics").text
    assert 'camera="belt"' not in metrics
    assert 'camera="folder"' in metrics


def test_a_faulty_file_changes_nothing_and_says_why_until_a_good_one_comes(
    config: dict[str, Any], tmp_path: Path
) -> None:
    with StationProcess(tmp_path, config) as station:
        station.wait_ready()
        until_judged(station, "belt")
        assert file_fact(station)["ok"]
        assert station.reload().json()["detail"] == "nothing changed"
        faulty = copy.deepcopy(config)
        faulty["cameras"]["more"] = {**BELT, "slotz": 3}
        faulty["cameras"]["belt"] = {"source": {"kind": "pattern", "fps": -1}}
        station.write(faulty)
        answer = station.reload()
        assert (answer.status_code, answer.json()["outcome"]) == (422, "refused")
        faults = answer.json()["faults"]
        assert {f["key"] for f in faults} == {"cameras.belt.source.fps", "cameras.more.slotz"}
        assert all(f["line"] for f in faults)
        said = hang_up(station)
        assert said["message"] == "reload: refused"
        assert len(said["faults"]) == 2
        assert 'did you mean "slots"' in "".join(said["faults"])
        readiness = station.get("/readyz")
        assert readiness.status_code == 200
        fact = file_fact(station)
        assert not fact["ok"]
        assert not fact["gates"]
        assert "cameras.belt.source.fps: got the number -1" in fact["detail"]
        assert set(station.get("/api/cameras").json()) == {"folder", "belt"}
        belt = until_judged(station, "belt")
        assert belt["restarts"] == {}

        station.file.unlink()
        assert station.reload().json()["faults"][0]["problem"] == "there is no such file"
        station.write(config)
        assert station.reload().json()["outcome"] == "unchanged"
        assert file_fact(station)["ok"]
        assert station.get("/api/journal").json() == []
        assert station.camera("belt")["stream_epoch"] == belt["stream_epoch"]
        assert station.terminate() == 0


def test_what_takes_a_restart_is_refused_with_its_keys_and_so_is_all_else_of_the_file(
    config: dict[str, Any], tmp_path: Path
) -> None:
    with StationProcess(tmp_path, config) as station:
        station.wait_ready()
        other = copy.deepcopy(config)
        other["station"] = "test-02"
        other["engine"]["max_batch"] = 4
        other["events"]["heartbeat_s"] = 60
        other["cameras"]["more"] = BELT
        station.write(other)
        answer = station.reload()
        assert answer.status_code == 409
        said = {fault["key"]: fault for fault in answer.json()["faults"]}
        assert set(said) == {"station", "engine.max_batch", "events.heartbeat_s"}
        problem = said["engine.max_batch"]["problem"]
        assert problem == "16 → 4; restart the station for that"
        assert said["station"]["line"]
        assert "more" not in station.get("/api/cameras").json()
        assert "restart needed" in file_fact(station)["detail"]
        assert station.get("/api/status").json()["station"] == "test-01"
        assert station.terminate() == 0


def test_secrets_are_read_anew_and_shown_nowhere(config: dict[str, Any], tmp_path: Path) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "CAM_U").write_text("operator")
    (credentials / "CAM_P").write_text("hunter2-old")
    config["cameras"]["away"] = {
        "source": {"kind": "rtsp", "url": "rtsp://127.0.0.1:1/x?pwd=hunter2-url"},
        "credentials": {"username": "CAM_U", "password": "CAM_P"},
    }
    env = {"CREDENTIALS_DIRECTORY": str(credentials)}
    with StationProcess(tmp_path, config, env=env) as station:
        station.wait_ready()
        station.until("loss", lambda: station.camera("away")["state"] == "lost")
        assert station.reload().json()["outcome"] == "unchanged"
        (credentials / "CAM_P").write_text("hunter2-new")
        answer = station.reload()
        assert answer.json()["cameras"]["restarted"] == ["away"]
        assert [c["key"] for c in answer.json()["changes"]] == ["cameras.away.credentials"]
        config["cameras"]["away"]["source"]["url"] = "rtsp://127.0.0.1:1/y?pwd=hunter2-other"
        station.write(config)
        (credentials / "CAM_P").unlink()
        missing = station.reload()
        assert missing.json()["faults"][0]["key"] == "cameras.away.credentials.password"
        (credentials / "CAM_P").write_text("hunter2-new")
        changed = station.reload()
        assert changed.json()["changes"][0]["new"] == "rtsp://127.0.0.1:1/y?pwd=***"
        ready = station.get("/readyz").text
        assert station.terminate() == 0
    told = answer.text + missing.text + changed.text + ready + station.log_path.read_text()
    assert "hunter2" not in told + (station.state / "journal.jsonl").read_text()


def test_reloads_at_the_same_time_are_done_one_after_the_other(
    config: dict[str, Any], tmp_path: Path
) -> None:
    with StationProcess(tmp_path, config) as station:
        station.wait_ready()
        config["cameras"]["more"] = BELT
        station.write(config)
        with ThreadPoolExecutor(6) as pool:
            answers = [f.result().json() for f in [pool.submit(station.reload) for _ in range(6)]]
        assert sorted(a["outcome"] for a in answers) == ["applied", *["unchanged"] * 5]
        assert len(station.get("/api/journal").json()) == 1
        assert station.terminate() == 0


def test_asked_during_the_start_it_is_done_when_the_station_is_ready(
    config: dict[str, Any], tmp_path: Path
) -> None:
    with StationProcess(tmp_path, config) as station:
        station.until("start", lambda: station._line("starting"))
        config["cameras"]["more"] = BELT
        station.write(config)
        station.process.send_signal(signal.SIGHUP)
        station.wait_ready()
        assert station.until("reload", lambda: reloads(station))[0]["added"] == ["more"]
        assert station.terminate() == 0


def test_a_stop_in_the_middle_of_reloads_ends_in_time(
    config: dict[str, Any], tmp_path: Path
) -> None:
    with StationProcess(tmp_path, config) as station:
        station.wait_ready()
        until_judged(station, "belt")
        del config["cameras"]["belt"]
        config["cameras"]["more"] = BELT
        station.write(config)
        for _ in range(20):
            station.process.send_signal(signal.SIGHUP)
        station.until("reload", lambda: reloads(station))
        for _ in range(20):
            station.process.send_signal(signal.SIGHUP)
        assert station.terminate() == 0
        assert station.log()[-1]["message"] == "stopped"
        words = [line["message"] for line in reloads(station)]
        assert words[0] == "reload: applied"
        assert set(words[1:]) <= {"reload: nothing changed", "reload: not now"}


@pytest.mark.timeout(900)
def test_fifty_reloads_in_a_row_leave_nothing_behind(
    config: dict[str, Any], tmp_path: Path
) -> None:
    with StationProcess(tmp_path, config) as station:
        station.wait_ready()
        until_judged(station, "belt")
        process = Path(f"/proc/{station.process.pid}")

        def held() -> tuple[int, int]:
            children = [pid for task in (process / "task").iterdir() for pid in _children(task)]
            return len(list((process / "fd").iterdir())), len(children)

        def threads() -> int:
            return len(list((process / "task").iterdir()))

        station.reload()
        before, threads_before = held(), threads()
        epoch = station.camera("belt")["stream_epoch"]
        for turn in range(50):
            changed = copy.deepcopy(config)
            changed["policies"] = {"default": {"needed": 1 + turn % 5}}
            if turn % 25 in {3, 4}:
                changed["cameras"]["more"] = BELT
            station.write(changed)
            assert station.reload().json()["outcome"] == "applied", turn
        station.until("its descriptors and processes back", lambda: held() <= before)
        # The web server keeps a thread for a while.
        station.until("its threads back", lambda: threads() <= threads_before + 2)
        belt = until_judged(station, "belt")
        assert (belt["stream_epoch"], belt["restarts"]) == (epoch, {})
        assert sum(station.camera("folder")["counters"]["dropped"].values()) == 0
        assert len(station.get("/api/journal?limit=500").json()) == 50
        assert station.terminate() == 0
    frames = judged_frames(station, "folder")
    assert [n for _, n in frames] == list(range(len(frames)))


def _children(task: Path) -> list[str]:
    try:
        return (task / "children").read_text().split()
    except OSError:
        return []


ON_A_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, "-m", "inspector.cli", "run", sys.argv[1]])
"""


def test_a_terminal_that_is_closed_ends_the_station(config: dict[str, Any], tmp_path: Path) -> None:
    """SIGHUP has two meanings; a station without its terminal has nobody to talk to."""
    with StationProcess(tmp_path, config) as station:
        station.process.kill()
    ours, theirs = pty.openpty()
    started = subprocess.Popen(
        [sys.executable, "-c", ON_A_TERMINAL, str(station.file)],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    said = b""
    while b"ready" not in said:
        said += os.read(ours, 4096)
    assert started.poll() is None
    os.close(ours)
    assert started.wait(60) >= 0, "no signal has killed it"
