"""A whole station in a process of its own: what it costs, beyond what it is for."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from inspector.bench.clips import write_clip
from inspector.bench.decode import alone_s
from inspector.bench.figure import BenchError, Figure
from inspector.bench.processes import children, cpu_s, pss_bytes
from inspector.bench.setting import STATION
from inspector.engine.bench import latencies_s
from inspector.engine.folders import engine_asked
from inspector.engine.golden import read_golden
from inspector.engine.tile_ring import TileRing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from inspector.bench.setting import Setting
    from inspector.engine.load import Engine

WORKER_MB = 130.0
GROWTH = 0.02
IDLE_SHARE = 0.35
CAMERAS, CAMERA_FPS, JUDGED_PER_S = 4, 10, 5
_READY_S = 180.0
_WARM_S, _IDLE_S = 10.0, 15.0
"""Before the look at an idle station, and for it; for each second of a round."""
_CLIP_FRAMES = 60
_WARM_SHARE = 0.1
"""Part of the long measurement after which memory is taken as its beginning."""
_MB = 1e6


class StationProcess:
    """`inspector run` on a station file of these settings, until it is ended.

    Args:
        folder: where file, state and log lie.
        document: of the station file.

    Raises:
        BenchError: it did not become ready.
    """

    def __init__(self, folder: Path, document: Mapping[str, Any]) -> None:
        folder.mkdir()
        file, self._log = folder / "station.yaml", folder / "station.log"
        given = {
            "version": 1,
            "station": STATION,
            "state": str(folder / "state"),
            "web": {"listen": "127.0.0.1:0"},
        }
        file.write_text(yaml.safe_dump(given | dict(document)), encoding="utf-8")
        command = [sys.executable, "-P", "-m", "inspector.cli", "run", str(file)]
        package = str(Path(__file__).resolve().parents[2])
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own module
                [*command, "--log-format=json"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": package},
            )
        try:
            self._page = self._until_ready()
        except BaseException:
            self.end()
            raise

    @property
    def pid(self) -> int:
        """Of the main process."""
        return self._process.pid

    def _until_ready(self) -> str:
        deadline = time.monotonic() + _READY_S
        while time.monotonic() < deadline and self._process.poll() is None:
            for line in self._log.read_text(encoding="utf-8", errors="replace").splitlines():
                if '"page"' in line and (page := json.loads(line).get("page")):
                    return str(page).rstrip("/")
            time.sleep(0.1)
        tail = self._log.read_text(encoding="utf-8", errors="replace")[-500:]
        msg = f"the station was not ready within {_READY_S:g} s: {tail}"
        raise BenchError(msg)

    def counters(self) -> tuple[int, int]:
        """Frames that have arrived and that were judged, of all cameras."""
        with urllib.request.urlopen(f"{self._page}/api/status", timeout=10) as answer:  # noqa: S310 - our own page
            cameras = json.load(answer)["cameras"].values()
        return (
            sum(camera["counters"]["frames_in"] for camera in cameras),
            sum(camera["counters"]["judged"] for camera in cameras),
        )

    def until_judged(self, frames: int) -> None:
        """Wait until so many frames are judged. Raises BenchError if none comes for long."""
        deadline = time.monotonic() + _READY_S
        while self.counters()[1] < frames:
            if time.monotonic() > deadline or self._process.poll() is not None:
                msg = f"the station did not judge {frames} frames within {_READY_S:g} s"
                raise BenchError(msg)
            time.sleep(0.1)

    def end(self) -> None:
        """SIGTERM, and SIGKILL if that does not help. Idempotent."""
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def _station(folder: Path, document: Mapping[str, Any]) -> Iterator[StationProcess]:
    station = StationProcess(folder, document)
    try:
        yield station
    finally:
        station.end()


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of one processor that a station took, and what it did in that time.

    Attributes:
        wall_s: how long it was looked at.
        station_s: main process and workers.
        frames_in, judged: frames that arrived and that were judged.
        decode_s, convert_s, infer_s: what one frame costs of each, measured alone.
    """

    wall_s: float
    station_s: float
    frames_in: int
    judged: int
    decode_s: float
    convert_s: float
    infer_s: float

    @property
    def purpose_s(self) -> float:
        """What decoding every frame, and converting and judging those that are due, costs alone."""
        return self.frames_in * self.decode_s + self.judged * (self.convert_s + self.infer_s)

    def beyond(self, judged_per_s: float) -> float:
        """The rest, as a part of one processor, at so many judged frames a second.

        Where a busy machine did not judge so many, the rest is raised as if all of it went with
        the frames: rather too much than too little.

        >>> Cost(10.0, 6.0, 400, 200, 0.005, 0.002, 0.01).beyond(20.0)
        0.16
        """
        short = max(1.0, judged_per_s * self.wall_s / self.judged)
        return round(short * (self.station_s - self.purpose_s) / self.wall_s, 6)


def measure_idle(setting: Setting) -> Iterator[Figure]:
    """Memory of the workers, and processor time of the station beyond decoding and inference."""
    setting.say("making a clip of 1080p H.264")
    clip = write_clip(
        setting.folder / "idle.mp4", frames=_CLIP_FRAMES, fps=CAMERA_FPS, size_wh=setting.size_wh
    )
    engine = setting.load()
    precision = engine.parity.precision
    source = {"kind": "video", "path": str(clip), "loop": True}
    camera = {"source": source, "inspect": {"every_s": 1 / JUDGED_PER_S}}
    document = {
        "engine": _engine_section(setting) | {"precision": precision},
        "cameras": {f"camera-{number}": camera for number in range(CAMERAS)},
        "policies": {"default": {"emit": "transitions"}},
    }
    try:
        before = _frame_costs(clip, engine)
        with _station(setting.folder / "idle", document) as station:
            setting.say(f"a station of {CAMERAS} cameras, {JUDGED_PER_S} judged frames a second")
            station.until_judged(10 * CAMERAS)
            time.sleep(_WARM_S * setting.seconds)
            workers = [round(pss_bytes(pid) / _MB, 1) for pid in children(station.pid)]
            main_mb = round(pss_bytes(station.pid) / _MB, 1)
            wall_s, station_s, frames_in, judged = _look(station, _IDLE_S * setting.seconds)
        after = _frame_costs(clip, engine)
    finally:
        engine.close()
    costs = [(one + other) / 2 for one, other in zip(before, after, strict=True)]
    cost = Cost(wall_s, station_s, frames_in, judged, *costs)
    if not judged or len(workers) != CAMERAS:
        msg = f"{judged} frames were judged by a station of {len(workers)} workers"
        raise BenchError(msg)
    yield Figure(
        "memory, a worker",
        "proportional set size of a 1080p worker without its slots, the largest of four",
        max(workers),
        WORKER_MB,
        unit="MB",
        details={"workers_mb": workers, "main_mb": main_mb},
    )
    yield Figure(
        "idle station",
        f"processor time of {CAMERAS} cameras at {JUDGED_PER_S} judged frames a second beyond "
        "decoding and inference, part of one processor",
        cost.beyond(CAMERAS * JUDGED_PER_S),
        IDLE_SHARE,
        details={
            "station": round(station_s / wall_s, 4),
            "decode": round(frames_in * cost.decode_s / wall_s, 4),
            "convert": round(judged * cost.convert_s / wall_s, 4),
            "inference": round(judged * cost.infer_s / wall_s, 4),
            "frames_in_per_s": round(frames_in / wall_s, 2),
            "judged_per_s": round(judged / wall_s, 2),
            "precision": precision,
        },
    )


def _engine_section(setting: Setting) -> dict[str, Any]:
    folder = {} if setting.engines is None else {"folder": str(setting.engines.absolute())}
    return {"screen": setting.engine, "precision": setting.precision, **folder}


def _look(station: StationProcess, seconds: float) -> tuple[float, float, int, int]:
    """Seconds, processor seconds, and frames in and judged meanwhile."""

    def spent() -> float:
        return sum(cpu_s(pid) for pid in (station.pid, *children(station.pid)))

    began, cpu, counted = time.monotonic(), spent(), station.counters()
    time.sleep(seconds)
    wall_s, station_s, now = time.monotonic() - began, spent() - cpu, station.counters()
    return wall_s, station_s, now[0] - counted[0], now[1] - counted[1]


def _frame_costs(clip: Path, engine: Engine) -> tuple[float, float, float]:
    """Processor seconds a frame to decode it, to convert it, and to judge it."""
    decode_s = alone_s(clip, convert=False)
    convert_s = max(0.0, alone_s(clip, convert=True) - decode_s)
    count = engine.manifest.sampling.count
    golden = read_golden(engine.manifest)
    ring = TileRing("bench", slots=1, tiles=count, size=engine.manifest.sampling.tile)
    try:
        ring.column(0, count)[:] = golden.tiles[[i % len(golden.tiles) for i in range(count)]]
        engine.runtime.map_ring(ring.ring)
        latencies_s(engine.runtime, ring.refs(0, count), 0.3)
        began = time.process_time()
        frames = len(latencies_s(engine.runtime, ring.refs(0, count), 1.5))
        return decode_s, convert_s, (time.process_time() - began) / frames
    finally:
        engine.runtime.unmap_ring(ring.ring.key)
        ring.close()


def measure_soak(setting: Setting) -> Iterator[Figure]:
    """Growth of a station's memory over many frames: main process and worker, slots apart."""
    clip = write_clip(setting.folder / "soak.mp4", frames=50, fps=25, size_wh=(256, 256))
    document = {
        "engine": _engine_section(setting)
        | {"folder": str(_one_tile_engine(setting)), "screen": setting.engine},
        "cameras": {"soak": {"source": _fast(clip), "max_megapixels": 0.1}},
        "policies": {"default": {"emit": "transitions"}},
    }
    with _station(setting.folder / "soak", document) as station:
        first_mb = last_mb = 0.0
        judged, began = 0, time.monotonic()
        while judged < setting.soak_frames:
            time.sleep(0.5)
            judged = station.counters()[1]
            setting.say(f"{judged} of {setting.soak_frames} frames")
            if not first_mb and judged >= _WARM_SHARE * setting.soak_frames:
                first_mb = _all_mb(station)
        last_mb = _all_mb(station)
        seconds = time.monotonic() - began
    yield Figure(
        "soak",
        f"growth of a station's memory over {setting.soak_frames} frames, part of it",
        round(max(0.0, last_mb / first_mb - 1), 5),
        GROWTH,
        details={
            "first_mb": round(first_mb, 1),
            "last_mb": round(last_mb, 1),
            "frames": judged,
            "frames_per_s": round(judged / seconds, 1),
        },
    )


def _fast(clip: Path) -> dict[str, Any]:
    return {"kind": "video", "path": str(clip), "loop": True, "pace": "fast"}


def _all_mb(station: StationProcess) -> float:
    return sum(pss_bytes(pid) for pid in (station.pid, *children(station.pid))) / _MB


def _one_tile_engine(setting: Setting) -> Path:
    """A copy of the engine with one tile a frame, so that many frames take less time."""
    folder = setting.folder / "engines"
    home = folder / setting.engine
    shutil.copytree(engine_asked(setting.engine, setting.engines), home)
    manifest = home / "manifest.yaml"
    document = yaml.safe_load(manifest.read_text(encoding="utf-8"))
    document["sampling"]["count"] = 1
    manifest.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    return folder
