"""Evidence of a station from the outside: kept, served, labelled; a kill and a full disk."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from tests.engine import tiny_engine
from tests.integration.kafka_reading import outbox_events
from tests.integration.station_process import StationProcess
from tests.servers.disk import occupy

if TYPE_CHECKING:
    from pathlib import Path

LIVES = 3
SMALL_DISK_MB = 12


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    """One camera, whose pictures are blurred, noisy and doubtful in turn."""
    tiny_engine.make(tmp_path / "engines", name="tiny")
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    cv2.imwrite(str(pictures / "0.png"), tiny_engine.picture("gblur"))
    cv2.imwrite(str(pictures / "1.png"), tiny_engine.picture("wn"))
    cv2.imwrite(str(pictures / "2.png"), tiny_engine.doubtful("gblur", "wn"))
    source = {"kind": "images", "folder": str(pictures), "loop": True, "every_s": 0.02}
    return {
        "engine": {"screen": "tiny", "folder": str(tmp_path / "engines"), "threads": 1},
        "cameras": {"infeed": {"source": source}},
        "evidence": {
            "format": "png",
            "per_minute": 6000,
            "min_free_mb": 0,
            "within_ms": 30_000,
        },
    }


def events_of(station: StationProcess, *types: str) -> list[dict[str, Any]]:
    """The events in the outbox of a station that has ended."""
    events = [row["event"] for row in outbox_events(station.file)]
    return [event for event in events if event["type"].split(".")[-2] in types]


def written(station: StationProcess, camera: str = "infeed") -> int:
    status = station.get("/api/status").json()
    return int(status["evidence"]["cameras"][camera]["written"])


def checked(folder: Path, event: dict[str, Any]) -> bool:
    """Whether the picture of an event is there; if so, it is the right one."""
    evidence = event["data"]["evidence"]
    if evidence is None:
        return False
    data = (folder / evidence["uri"]).read_bytes()
    assert hashlib.sha256(data).hexdigest() == evidence["sha256"]
    return True


def test_the_judged_pixels_are_kept_served_and_labelled(
    config: dict[str, Any], tmp_path: Path
) -> None:
    """In the mode of a station's first weeks, whose uncertain frames are wanted most."""
    config["mode"] = "observe"
    config["evidence"]["keep_uncertain"] = True
    with StationProcess(tmp_path, config) as station:
        station.wait_ready()
        station.until("pictures", lambda: written(station) > 12)
        fact = next(f for f in station.get("/readyz").json()["facts"] if f["name"] == "evidence")
        assert fact["ok"]
        assert "pictures" in fact["detail"]
        event = next(e for e in station.get("/api/events").json() if e["data"].get("evidence"))
        evidence = event["data"]["evidence"]
        answer = station.get(f"/api/evidence/{evidence['uri']}")
        assert answer.headers["content-type"] == evidence["media_type"] == "image/png"
        assert answer.headers["etag"] == f'"{evidence["sha256"]}"'
        assert hashlib.sha256(answer.content).hexdigest() == evidence["sha256"]
        for strange in ("..%2Foutbox.db", "%2e%2e%2foutbox.db", "evidence.lock", "%2Fetc%2Fpasswd"):
            assert station.get(f"/api/evidence/{strange}").status_code == 404
        metrics = station.get("/metrics").text
        for name in ("files", "bytes", "written_total"):
            assert f'\ninspector_evidence_{name}{{camera="infeed"}} ' in metrics
        assert '\ninspector_evidence_seconds_count{step="encode"} ' in metrics
        assert station.terminate() == 0

    folder = station.state / "evidence"
    originals = {path.name: cv2.imread(str(path)) for path in (tmp_path / "pictures").iterdir()}
    told = events_of(station, "rejected")
    assert len(told) > 5
    for event in told:
        assert event["data"]["no_evidence"] in {None, "busy", "starting", "shutdown"}
        if checked(folder, event):
            kept = cv2.imread(str(folder / event["data"]["evidence"]["uri"]))
            np.testing.assert_array_equal(kept, originals[event["data"]["origin"]])
    notes = [json.loads(path.read_text()) for path in folder.rglob("*.json")]
    assert len(notes) == len(list(folder.rglob("*.png")))
    assert {note["data"]["verdict"] for note in notes} == {"rejected", "uncertain"}

    # All events beside their pictures are one list for the training, the uncertain too.
    lines = tmp_path / "events.jsonl"
    gather = f"find {folder} -name '*.json' -exec cat {{}} + > {lines}"
    subprocess.run(gather, shell=True, check=True)
    command = ["--events", lines, "--folder", folder, "--out", tmp_path / "labelled"]
    done = subprocess.run(
        [sys.executable, "-m", "train", "evidence", *map(str, command)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    labelled = list((tmp_path / "labelled").rglob("*.png"))
    assert len(labelled) == len(notes)
    uncertain = originals["2.png"]
    assert any(np.array_equal(cv2.imread(str(path)), uncertain) for path in labelled)
    assert "uncertain" not in {e["data"].get("verdict") for e in events_of(station, "rejected")}
    assert {path.parent.name for path in labelled} >= {"gblur", "wn"}


def test_a_camera_that_a_reload_adds_may_lend_a_third_of_its_slots_too(
    config: dict[str, Any], tmp_path: Path
) -> None:
    """Of a ring of twelve the first four pictures are taken, though none is encoded by then."""
    large = tmp_path / "large"
    large.mkdir()
    cv2.imwrite(str(large / "0.png"), tiny_engine.picture("wn", 1080, 1920))
    source = {"kind": "images", "folder": str(large), "loop": True, "every_s": 0.02}
    config["evidence"] |= {"format": "webp", "within_ms": 60_000}
    config["cameras"]["infeed"]["source"]["every_s"] = 3600
    with StationProcess(tmp_path, config) as station:
        station.wait_ready()
        station.until("pictures", lambda: written(station))
        config["cameras"]["late"] = {"source": source, "slots": 12}
        station.write(config)
        assert station.reload().json()["cameras"]["added"] == ["late"]
        station.until("pictures", lambda: written(station, "late") >= 4)
        assert station.terminate() == 0
    told = [e["data"] for e in events_of(station, "rejected") if e["data"]["camera"] == "late"]
    first = {data["sequence"]: data["no_evidence"] for data in told[:4]}
    assert first == dict.fromkeys(range(4))


def test_kill_9_while_pictures_are_written_leaves_each_event_its_picture(
    config: dict[str, Any], tmp_path: Path
) -> None:
    rng = random.Random(7)
    config["cameras"]["infeed"]["source"]["every_s"] = 0.005
    for _ in range(LIVES):
        with StationProcess(tmp_path, config) as station:
            station.wait_ready()
            station.until("pictures", lambda: written(station) > 5)
            time.sleep(rng.uniform(0, 0.3))  # the instant is the experiment
            station.kill()
    with StationProcess(tmp_path, config) as station:
        station.wait_ready()
        station.until("pictures", lambda: written(station) > 5)
        assert station.terminate() == 0
    folder = station.state / "evidence"
    told = events_of(station, "rejected", "degraded")
    with_picture = [event for event in told if checked(folder, event)]
    assert len(with_picture) > 5 * LIVES
    named = {event["data"]["evidence"]["uri"] for event in with_picture}
    pictures = {str(path.relative_to(folder)) for path in folder.rglob("*.png")}
    assert pictures == named, "no picture without its event"
    notes = {path.stem for path in folder.rglob("*.json")}
    assert notes == {path.stem for path in folder.rglob("*.png")}
    assert not list(folder.rglob("*.part"))
    frames = [(e["data"]["stream_epoch"], e["data"]["sequence"]) for e in told]
    assert frames == sorted(frames)


def live_on(config: dict[str, Any], disk: Path) -> None:
    """Have the station keep everything on a small disk, 4 MB of which are to stay free."""
    config["state"] = str(disk / "state")
    config["evidence"]["min_free_mb"] = 4
    config["cameras"]["infeed"]["source"]["every_s"] = 0.05


def test_pictures_go_before_events_when_the_disk_fills(
    config: dict[str, Any], small_disk: Path, tmp_path: Path
) -> None:
    live_on(config, small_disk)
    with StationProcess(tmp_path, config) as station:
        station.wait_ready()
        station.until("pictures", lambda: written(station) > 20)
        hog = small_disk / "somebody-elses"

        def files() -> int:
            return int(station.get("/api/status").json()["evidence"]["files"])

        while files():
            with hog.open("ab", buffering=0) as file:
                while shutil.disk_usage(small_disk).free > 3_900_000:
                    file.write(bytes(4096))
            time.sleep(0.2)  # what is freed is taken at once, until nothing is left to free
        station.until("word", lambda: "no room for evidence" in _fact(station)["detail"])
        judged = station.camera("infeed")["counters"]["judged"]
        station.until("more", lambda: station.camera("infeed")["counters"]["judged"] > judged + 10)
        assert station.get("/readyz").status_code == 200, "events are kept all the while"
        assert "\ninspector_outbox_writable 1.0\n" in station.get("/metrics").text
        hog.unlink()
        before = written(station)
        station.until("pictures again", lambda: written(station) > before)
        station.until("well", lambda: _fact(station)["ok"])
        assert station.terminate() == 0
    rows = outbox_events(station.file)
    told = [row["event"]["data"] for row in rows if row["event"]["type"].endswith("rejected.v1")]
    assert [data["sequence"] for data in told] == sorted(data["sequence"] for data in told)
    assert "space" in {data["no_evidence"] for data in told}
    assert not [row for row in rows if row["event"]["type"].endswith("dropped.v1")]


def test_a_start_on_a_full_disk_makes_room_among_the_pictures(
    config: dict[str, Any], small_disk: Path, tmp_path: Path
) -> None:
    live_on(config, small_disk)
    with StationProcess(tmp_path, config) as station:
        station.wait_ready()
        station.until("pictures", lambda: written(station) > 20)
        assert station.terminate() == 0
    pictures = len(list((small_disk / "state" / "evidence").rglob("*.png")))
    occupy(small_disk)
    with StationProcess(tmp_path, config) as station:
        station.wait_ready()
        left = len(list((small_disk / "state" / "evidence").rglob("*.png")))
        assert station.terminate() == 0
        said = [line["message"] for line in station.log()]
    assert left < pictures
    assert "the outbox cannot be opened: old evidence was removed" in said


def _fact(station: StationProcess) -> dict[str, Any]:
    facts = station.get("/readyz").json()["facts"]
    return dict(next(fact for fact in facts if fact["name"] == "evidence"))


def test_a_disk_of_evidence_that_vanishes_stops_no_event_and_is_taken_again(
    config: dict[str, Any], small_disk: Path, tmp_path: Path
) -> None:
    config["evidence"]["folder"] = str(small_disk / "evidence")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with StationProcess(tmp_path, config) as station:
        station.wait_ready()
        station.until("pictures", lambda: written(station) > 5)
        _run("mount", "--bind", small_disk, elsewhere)
        _run("umount", "-l", small_disk)
        station.until("word", lambda: not _fact(station)["ok"])
        assert "No such file or directory" in _fact(station)["detail"]
        assert station.get("/readyz").status_code == 200
        judged = station.camera("infeed")["counters"]["judged"]
        station.until("more", lambda: station.camera("infeed")["counters"]["judged"] > judged + 10)
        assert list(small_disk.iterdir()) == [], "nothing is written beneath it"
        _run("mount", "--bind", elsewhere, small_disk)
        _run("umount", "-l", elsewhere)
        station.until("well", lambda: _fact(station)["ok"])
        before = written(station)
        station.until("pictures again", lambda: written(station) > before)
        assert station.terminate() == 0
    told = [event["data"] for event in events_of(station, "rejected")]
    assert [data["sequence"] for data in told] == sorted({data["sequence"] for data in told})
    assert "unwritable" in {data["no_evidence"] for data in told}
    for event in events_of(station, "rejected"):
        checked(small_disk / "evidence", event)


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True)


def test_a_folder_that_cannot_be_used_stops_no_event(
    config: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "in-the-way").touch()
    config["evidence"]["folder"] = str(tmp_path / "in-the-way")
    with StationProcess(tmp_path, config) as station:
        station.wait_ready()
        station.until("word", lambda: not _fact(station)["ok"])
        assert "cannot be used: File exists" in _fact(station)["detail"]
        assert station.get("/readyz").status_code == 200
        assert "\ninspector_evidence_writable 0.0\n" in station.get("/metrics").text
        station.until("verdicts", lambda: station.camera("infeed")["counters"]["judged"] > 10)
        assert station.terminate() == 0
    told = events_of(station, "rejected")
    assert told
    assert {event["data"]["no_evidence"] for event in told} <= {"unwritable", "starting"}
