"""The real station as a service: what it tells its manager, and what the unit makes of its ends."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import httpx
import pytest
import yaml

from tests.engine import tiny_engine
from tests.integration.kafka_reading import outbox_events
from tests.service.stand_in import Happened, StandIn
from tests.service.unit import ROOT, UNIT

pytestmark = pytest.mark.timeout(600)

RESTART_WITHIN_S = 30.0
"""Ten are enough where nobody else is at work."""


class Box:
    """The root of a box with one station file, `line-1`, and the pictures that it judges."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.config = root / "etc" / "inspector"
        (self.config / "secrets").mkdir(parents=True)
        self.file = self.config / "line-1.yaml"
        self.pictures = root / "pictures"
        self.pictures.mkdir()
        for i, label in enumerate(["refimgs", "gblur", "wn"]):
            picture = tiny_engine.picture(label, seed=i)
            cv2.imwrite(str(self.pictures / f"{i}.png"), picture)
        tiny_engine.make(root / "engines", name="tiny")

    def write(self, **more: Any) -> None:
        """The station file, and what a test wants otherwise."""
        source = {"kind": "images", "folder": str(self.pictures), "loop": True, "every_s": 0.05}
        document = {
            "version": 1,
            "station": "line-1",
            "engine": {"screen": "tiny", "folder": str(self.root / "engines"), "threads": 1},
            "cameras": {"infeed": {"source": source}},
            "web": {"listen": "127.0.0.1:0"},
        }
        self.file.write_text(yaml.safe_dump(document | more))

    def service(
        self, *drop_ins: str, oddity: tuple[str, Path] | None = None, filtered: bool = False
    ) -> StandIn:
        """The service, with the station of this checkout or an odd one."""
        module = ["inspector.cli"] if oddity is None else ["tests.service.odd_station"]
        odd = [] if oddity is None else [oddity[0], str(oddity[1])]
        launcher = ["env", f"PYTHONPATH={ROOT}"]
        sandbox = [sys.executable, "-m", "tests.service.sandbox", str(UNIT)] if filtered else []
        words = [*launcher, *sandbox, sys.executable, "-m", *module, *odd]
        return StandIn(self.root, words, *drop_ins)


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Box:
    box = Box(tmp_path)
    box.write()
    # For `inspector events list`, which is to read what the service wrote.
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "var/lib/inspector/line-1"))
    return box


def page_of(service: StandIn) -> str:
    """Address of the page, as the journal tells it last: a moment after readiness."""

    def pages() -> list[str]:
        whole, _, _ = service.log_path.read_text().rpartition("\n")
        lines = [json.loads(line) for line in whole.splitlines() if '"page"' in line]
        return [line["page"] for line in lines if line["message"] == "ready"]

    starts = len(service.happened("start"))
    found: list[str] = service.until("the page", lambda: len(p := pages()) >= starts and p)
    return found[-1].rstrip("/")


def facts_of(service: StandIn) -> dict[str, tuple[bool, str]]:
    """What /readyz answers."""
    facts = httpx.get(page_of(service) + "/readyz", timeout=60).json()["facts"]
    return {fact["name"]: (fact["ok"], fact["detail"]) for fact in facts}


def test_it_is_ready_tells_its_facts_is_alive_and_stops(box):
    shutil.move(box.pictures, box.root / "away")
    with box.service() as service:
        service.wait_for("running")
        assert service.happened("EXTEND_TIMEOUT_USEC")
        service.until("a lost camera", lambda: "not well: camera infeed: " in service.status)
        names = list(facts_of(service))
        assert names[0] == "phase"
        service.until("all facts", lambda: all(f"{name}: " in service.status for name in names[1:]))
        shutil.move(box.root / "away", box.pictures)
        service.until(
            "the camera",
            lambda: "camera infeed: running" in (s := service.status) and "not well" not in s,
        )

        # Longer than the watchdog waits.
        began = time.monotonic()
        time.sleep(service.unit.seconds("WatchdogSec") + 1)
        alive = [line.at for line in service.happened("WATCHDOG") if line.at > began]
        assert len(alive) > 2
        assert not service.happened("watchdog")

        service.stop()
        service.wait_for("inactive")
        assert [line.what for line in service.journal if line.what in {"STOPPING", "end"}]
        assert service.happened("end")[-1].detail == "0"
        assert not service.happened("stranger")
        assert not service.happened("killed")


def test_a_reload_is_told_and_ends_with_ready(box):
    with box.service() as service:
        service.wait_for("running")
        source = {"kind": "pattern"}
        box.write(cameras={"infeed": {"source": source}, "outfeed": {"source": source}})
        service.reload()
        service.until("the reload", lambda: len(service.happened("READY")) > 1)
        told = [line.what for line in service.journal if line.what in {"READY", "RELOADING"}]
        assert told == ["READY", "RELOADING", "READY"]
        service.wait_for("running")
        service.until("the new camera", lambda: "camera outfeed: running" in service.status)
        assert len(service.happened("start")) == 1


def test_secrets_come_from_the_folder_of_secrets(box):
    (box.config / "secrets" / "WEB_TOKEN").write_text("hunter2\n")
    box.write(web={"listen": "0.0.0.0:0", "token": "WEB_TOKEN"})
    with box.service() as service:
        service.wait_for("running")
        address = page_of(service).replace("0.0.0.0", "127.0.0.1")
        assert httpx.get(address + "/api/status", timeout=60).status_code == 401
        bearer = {"Authorization": "Bearer hunter2"}
        assert httpx.get(address + "/api/status", headers=bearer, timeout=60).status_code == 200
    assert "hunter2" not in service.log_path.read_text()


def in_time(service: StandIn, since: float) -> list[Happened]:
    """The restart after a fault; fails where it took too long."""
    starts = service.until("restart", lambda: service.happened("start")[1:])
    assert starts[0].at - since <= RESTART_WITHIN_S
    return starts


def test_a_process_that_is_stopped_is_started_anew(box):
    with box.service() as service:
        service.wait_for("running")
        since = time.monotonic()
        os.kill(service.pid, signal.SIGSTOP)
        in_time(service, since)
        assert service.happened("end")[0].detail == str(-signal.SIGABRT)
        service.wait_for("running")


@pytest.mark.parametrize("loop", ["judge", "capture", "outbox"])
def test_a_loop_that_hangs_is_told_by_silence_and_started_anew(box, loop):
    hangs = box.root / "hangs"
    with box.service(oddity=(loop, hangs)) as service:
        service.wait_for("running")
        service.until("a sign of life", lambda: service.happened("WATCHDOG"))
        hangs.touch()
        since = time.monotonic()
        service.until("watchdog", lambda: service.happened("watchdog"))
        hangs.unlink()
        in_time(service, since)
        silent = since + service.unit.seconds("WatchdogSec")
        later = [line for line in service.happened("WATCHDOG") if line.at > silent]
        assert not [line for line in later if line.at < service.happened("watchdog")[0].at]
        service.wait_for("running")
    # The journal has the place of every thread, the one that hung too.
    log = service.log_path.read_text()
    assert "Fatal Python error: Aborted" in log
    assert "odd_station.py" in log


def test_a_users_mistake_is_not_started_again_and_says_why(box):
    box.write(cameras={"infeed": {"source": {"kind": "pattern", "fps": 999}}})
    with box.service() as service:
        service.wait_for("failed")
        assert service.happened("end")[-1].detail == "2"
        service.until("the reason", lambda: "cameras.infeed.source.fps" in service.status)
        time.sleep(2 * service.unit.seconds("RestartSec"))
        assert len(service.happened("start")) == 1


def test_an_address_that_is_not_there_yet_is_waited_for(box):
    """After a power cut the network may come later than the station."""
    (box.config / "secrets" / "WEB_TOKEN").write_text("hunter2\n")
    box.write(web={"listen": "192.0.2.1:8787", "token": "WEB_TOKEN"})
    with box.service() as service:
        service.until("another start", lambda: len(service.happened("start")) > 1)
        assert service.happened("end")[0].detail == "1"
        told = [line.detail for line in service.happened("STATUS")]
        assert any("does not have that address now" in status for status in told)


def test_after_kill_9_it_runs_again_with_its_outbox(box):
    with box.service() as service:
        service.wait_for("running")

        def rejects() -> set[str]:
            events = [row["event"] for row in outbox_events(box.file)]
            return {e["id"] for e in events if e["type"] == "inspector.frame.rejected.v1"}

        service.until("rejects", lambda: len(rejects()) > 3)
        os.kill(service.pid, signal.SIGKILL)
        kept = rejects()
        in_time(service, time.monotonic())
        service.wait_for("running")
        service.until("more rejects", lambda: len(rejects()) > len(kept))
        assert kept < rejects()
        assert [line.detail for line in service.happened("end")] == [str(-signal.SIGKILL)]


def test_a_clock_that_is_set_back_loses_no_event_and_no_order(box):
    """Set back under a running station, which then begins anew with it."""
    back = box.root / "back"
    box.write(evidence={"min_free_mb": 0, "per_minute": 6000}, events={"publish_verdicts": True})
    with box.service(oddity=("clock", back)) as service:
        service.wait_for("running")

        def judged() -> int:
            camera = httpx.get(page_of(service) + "/api/cameras/infeed", timeout=60).json()
            return int(camera["counters"]["judged"])

        service.until("verdicts", lambda: judged() > 10)
        back.touch()
        before = judged()
        service.until("verdicts a day before", lambda: judged() > before + 10)
        assert httpx.get(page_of(service) + "/readyz", timeout=60).status_code == 200
        os.kill(service.pid, signal.SIGKILL)
        in_time(service, time.monotonic())
        service.wait_for("running")
        service.until("verdicts of the second life", lambda: judged() > 10)
        service.stop()
        service.wait_for("inactive")
    told = [row["event"] for row in outbox_events(box.file)]
    verdicts = [event for event in told if event["type"] == "inspector.frame.judged.v1"]
    ids = [event["id"] for event in verdicts]
    assert len(ids) == len(set(ids))
    frames = [(e["data"]["stream_epoch"], e["data"]["sequence"]) for e in verdicts]
    assert frames == sorted(frames), "in the order of their frames, whatever the clock said"
    lives = {epoch: [n for e, n in frames if e == epoch] for epoch, _ in frames}
    assert len(lives) == 2
    for numbers in lives.values():
        assert numbers == list(range(len(numbers)))
    kept = list((service.state_folder / "evidence").glob("*/infeed/*.jpg"))
    named = {(e["data"]["evidence"] or {}).get("uri") for e in told if "evidence" in e["data"]}
    assert kept
    assert {str(path.relative_to(service.state_folder / "evidence")) for path in kept} <= named
    assert len({path.parts[-3] for path in kept}) >= 2, "under the day of their ids"


def test_an_engine_that_loads_for_long_gets_its_time(box):
    loads = box.root / "loads"
    loads.touch()
    with box.service("[Service]\nTimeoutStartSec=10", oddity=("load", loads)) as service:
        service.until("its step", lambda: service.status == "loading engine tiny")
        since = service.happened("start")[-1].at
        service.until("a long load", lambda: time.monotonic() > since + 11)
        loads.unlink()
        service.wait_for("running")
        assert service.happened("start")[-1].at == since


def test_the_shipped_engine_and_the_cameras_need_no_system_call_that_the_unit_refuses(box):
    """The real engine, which compiles itself, a video, a folder, and a name that is looked up."""
    cameras = {
        "folder": {"source": {"kind": "images", "folder": str(ROOT / "configs/demo/pictures")}},
        "clip": {"source": {"kind": "video", "path": str(ROOT / "configs/demo/clip.mp4")}},
        "belt": {"source": {"kind": "pattern"}},
        "far": {"source": {"kind": "rtsp", "url": "rtsp://localhost:1/stream"}},
    }
    box.write(engine={"screen": "simplenet", "threads": 1}, cameras=cameras)
    with box.service(filtered=True) as service:
        service.wait_for("running", within_s=240)
        filtered = Path(f"/proc/{service.pid}/status").read_text()
        assert "Seccomp:\t2" in filtered
        page = page_of(service)

        def judged() -> bool:
            found = httpx.get(page + "/api/cameras", timeout=60).json()
            counts = {name: camera["counters"]["judged"] for name, camera in found.items()}
            return all(counts[name] > 0 for name in ("folder", "clip", "belt"))

        service.until("verdicts of all", judged)
        service.until("the far camera's state", lambda: "camera far: lost: " in service.status)
        service.stop()
        service.wait_for("inactive")
    assert "Operation not permitted" not in service.log_path.read_text()


def test_a_start_that_is_stopped_ends_well(box):
    loads = box.root / "loads"
    loads.touch()
    with box.service(oddity=("load", loads)) as service:
        service.until("its step", lambda: service.status == "loading engine tiny")
        service.stop()
        loads.unlink()
        service.wait_for("inactive")
        assert not service.happened("READY")
