"""What two viewers of the dashboard cost a station of four cameras, and how far behind they are.

    python -m tests.bench.bench_viewers [ROUNDS] [SECONDS]

The station's cameras are 1080p, five frames a second of each are judged, one camera rejects all of
them. Its engine is tiny, so that what it costs is not lost in what inference costs. Rounds without
and with viewers alternate; processor time is that of the station's main process. A viewer reads the
stream and fetches every picture that it names, as the page does.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import httpx

from inspector.bench.clips import write_clip
from inspector.bench.processes import cpu_s
from tests.engine import tiny_engine
from tests.integration.station_process import StationProcess

VIEWERS, CAMERAS, JUDGED_PER_S, CAMERA_FPS = 2, 4, 5, 10
WIDTH, HEIGHT = 1920, 1080
WARM_S = 5.0


class Viewer:
    """Reads the stream and fetches pictures until it is told to stop."""

    def __init__(self, page: str) -> None:
        self._page = page
        self._stopping = threading.Event()
        self.behind_s: list[float] = []
        self.updates = self.pictures = self.bytes = 0
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _look(self) -> None:
        seen: dict[str, str] = {}
        kind = ""
        with (
            httpx.Client(base_url=self._page, timeout=20) as client,
            client.stream("GET", "/api/stream") as answer,
        ):
            for line in answer.iter_lines():
                if self._stopping.is_set():
                    return
                self.bytes += len(line)
                if line.startswith("event: "):
                    kind = line.removeprefix("event: ")
                elif line.startswith("data: ") and kind == "update":
                    self._take(client, json.loads(line.removeprefix("data: ")), seen)

    def _take(self, client: httpx.Client, update: dict[str, Any], seen: dict[str, str]) -> None:
        now = datetime.now(UTC)
        self.updates += 1
        for event in update["events"]:
            self.behind_s.append((now - datetime.fromisoformat(event["time"])).total_seconds())
        for camera, still in update["stills"].items():
            if seen.get(camera) != still["of"]:
                seen[camera] = still["of"]
                picture = client.get(f"/api/cameras/{camera}/frame?of={still['of']}")
                self.bytes += len(picture.content)
                self.pictures += 1


def config(folder: Path) -> dict[str, Any]:
    """Four cameras of 1080p; the pictures of one are blurred."""
    tiny_engine.make(folder / "engines", name="tiny")
    clip = write_clip(folder / "belt.mp4", frames=60, fps=CAMERA_FPS, size_wh=(WIDTH, HEIGHT))
    blurred = folder / "blurred"
    blurred.mkdir()
    for seed in range(3):
        picture = tiny_engine.picture("gblur", height=HEIGHT, width=WIDTH, seed=seed)
        cv2.imwrite(str(blurred / f"{seed}.jpg"), picture)
    every = {"every_s": 1 / JUDGED_PER_S}
    video = {"source": {"kind": "video", "path": str(clip), "loop": True}, "inspect": every}
    images = {"kind": "images", "folder": str(blurred), "loop": True, **every}
    cameras: dict[str, Any] = {f"belt-{n}": video for n in range(CAMERAS - 1)}
    return {
        "engine": {"screen": "tiny", "folder": str(folder / "engines"), "threads": 1},
        "cameras": {**cameras, "blurred": {"source": images}},
        "evidence": {"min_free_mb": 0},
    }


def main(rounds: int = 6, seconds: float = 20.0) -> None:
    """Measure and print."""
    alone: list[float] = []
    watched: list[float] = []
    behind_s: list[float] = []
    told = pictures = size = 0
    with (
        tempfile.TemporaryDirectory() as folder,
        StationProcess(Path(folder), config(Path(folder))) as station,
    ):
        station.wait_ready()
        time.sleep(WARM_S)
        for number in range(2 * rounds):
            viewers = [Viewer(station.page) for _ in range(VIEWERS)] if number % 2 else []
            time.sleep(1.0)
            began, spent_s = time.monotonic(), cpu_s(station.process.pid)
            time.sleep(seconds)
            part = (cpu_s(station.process.pid) - spent_s) / (time.monotonic() - began)
            (watched if viewers else alone).append(part)
            for viewer in viewers:
                viewer.stop()
                behind_s += viewer.behind_s
                told, pictures, size = (
                    told + viewer.updates, pictures + viewer.pictures, size + viewer.bytes
                )  # fmt: skip
        station.terminate()
    looked_s = rounds * VIEWERS * (seconds + 1)
    costs = [100 * (more - less) for less, more in zip(alone, watched, strict=True)]
    print(f"main process, part of one core: {_percent(alone)} alone, {_percent(watched)} watched")
    print(
        f"{VIEWERS} viewers cost {statistics.median(costs):.1f} % of one core (median of {rounds}; "
        f"{min(costs):.1f} to {max(costs):.1f} %)"
    )
    print(
        f"a viewer: {told / looked_s:.1f} updates, {pictures / looked_s:.1f} pictures and "
        f"{size / looked_s / 1e3:.0f} kB a second"
    )
    cut = statistics.quantiles(behind_s, n=100)
    print(
        f"decided until told: median {cut[49] * 1e3:.0f} ms, 99 % {cut[98] * 1e3:.0f} ms, "
        f"greatest {max(behind_s) * 1e3:.0f} ms ({len(behind_s)} events)"
    )


def _percent(parts: list[float]) -> str:
    return f"{100 * statistics.median(parts):.1f} %"


if __name__ == "__main__":
    main(*(kind(text) for kind, text in zip((int, float), sys.argv[1:], strict=False)))
