"""A live camera ten times faster than the engine: how old its frames are at their verdict.

The camera is a real one, a test pattern in its worker process. The engine computes on one thread
and so many tiles a frame that it takes `FRAME_S` for them; the camera's rate follows from that.
"""

from __future__ import annotations

import time
from dataclasses import replace
from math import ceil
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from inspector.bench.feeds import GatedFeed
from inspector.bench.figure import BenchError, Figure, share
from inspector.bench.setting import station_of, with_tiles
from inspector.capture.supervisor import Capture
from inspector.config.secrets import Secrets
from inspector.engine.bench import latencies_s, tiles_per_s
from inspector.engine.golden import read_golden
from inspector.engine.judge import Judge
from inspector.engine.tile_ring import TileRing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from inspector.bench.setting import Setting
    from inspector.capture.status import Counters
    from inspector.engine.load import Engine
    from inspector.frame import Frame
    from inspector.slots import Ring
    from inspector.verdict import Verdict

FASTER = 10
FRAME_S = 0.1
_MOST_TILES = 64
_MOST_FPS = 240.0
_WARM_FRAMES = 5
_SETTLE_S = 0.5
_UP_S = 60.0


def measure(setting: Setting) -> Iterator[Figure]:
    """Age at the verdict, against two frame periods and one inference."""
    setting.say("a live camera ten times faster than the engine, and the bare engine, in turn")
    engine = _slow_engine(setting)
    try:
        yield _figure(setting, engine)
    finally:
        engine.close()


def _slow_engine(setting: Setting) -> Engine:
    """The engine on one thread, with tiles enough to take about `FRAME_S` a frame."""
    from inspector.engine.openvino import OpenVinoRuntime

    engine = setting.load(threads=1)
    manifest, precision = engine.manifest, engine.parity.precision
    tile_s = 1 / tiles_per_s(manifest, engine.runtime, setting.seconds)
    engine.close()
    count = min(_MOST_TILES, max(1, ceil(FRAME_S / tile_s)))
    runtime = OpenVinoRuntime(manifest, precision, max_batch=count, threads=1)
    return with_tiles(replace(engine, runtime=runtime), count)


def _figure(setting: Setting, engine: Engine) -> Figure:
    count, size = engine.manifest.sampling.count, engine.manifest.sampling.tile
    golden = read_golden(engine.manifest)
    ring = TileRing("bench", slots=1, tiles=count, size=size)
    ring.column(0, count)[:] = golden.tiles[np.arange(count) % len(golden.tiles)]
    engine.runtime.map_ring(ring.ring)
    refs = ring.refs(0, count)
    latencies_s(engine.runtime, refs, setting.seconds / 2)
    alone = latencies_s(engine.runtime, refs, setting.seconds)
    fps = min(_MOST_FPS, FASTER / median(alone))
    ages: list[float] = []
    live = LiveCamera(engine, size, fps, ages)
    try:
        for _ in range(max(2, setting.rounds // 2)):
            setting.say(f"a camera of {fps:.0f} pictures a second")
            live.look(2 * setting.seconds)
            alone += latencies_s(engine.runtime, refs, setting.seconds)
        counters = live.close()
    finally:
        live.close()
        ring.close()
    return age_figure(ages, alone, fps, counters, tiles=count)


def age_figure(
    ages_s: Sequence[float],
    inferences_s: Sequence[float],
    fps: float,
    counters: Counters,
    tiles: int,
) -> Figure:
    """The figure out of what was seen. Pure.

    Args:
        ages_s: of frames at their verdict, in seconds.
        inferences_s: of the bare engine's batches of one frame, measured between.
        fps: of the camera.
        counters: the camera's, at the end.
        tiles: of a frame.

    Raises:
        BenchError: nothing was judged, or the counters do not add up.
    """
    superseded = counters.dropped["superseded"]
    dropped = sum(counters.dropped.values())
    if not ages_s or counters.frames_in != counters.judged + dropped + counters.in_flight:
        msg = f"{len(ages_s)} frames were judged, and the counters say {counters}"
        raise BenchError(msg)
    allowed_s = 2 / fps + share(inferences_s, 0.99)
    return Figure(
        "overload",
        "age at the verdict (p99), part of two frame periods and one inference (p99)",
        round(share(ages_s, 0.99) / allowed_s, 4),
        1.0,
        details={
            "age_ms_p50": _ms(median(ages_s)),
            "age_ms_p99": _ms(share(ages_s, 0.99)),
            "inference_ms_p50": _ms(median(inferences_s)),
            "inference_ms_p99": _ms(share(inferences_s, 0.99)),
            "period_ms": _ms(1 / fps),
            "p50_ratio": round(median(ages_s) / (2 / fps + median(inferences_s)), 4),
            "tiles": tiles,
            "judged": counters.judged,
            "superseded": superseded,
            "dropped": dropped,
        },
    )


def _ms(seconds: float) -> float:
    return round(seconds * 1e3, 2)


class LiveCamera:
    """A camera and a judge, with a gate between. Used by one thread."""

    def __init__(self, engine: Engine, size: int, fps: float, ages_s: list[float]) -> None:
        source = {"kind": "pattern", "width": size + 64, "height": size, "fps": fps}
        camera = station_of({"bench": {"source": source}}).cameras
        self._ages_s = ages_s
        self._open = False
        self._counters: Counters | None = None

        def on_ring(ring: Ring) -> None:
            self._judge.map_ring(ring)

        def on_ring_end(key: str) -> None:
            self._judge.unmap_ring(key)

        self._capture = Capture(
            camera,
            secrets=Secrets({}),
            first_epochs={},
            on_change=lambda _: None,
            on_epoch=lambda *_: None,
            on_ring=on_ring,
            on_ring_end=on_ring_end,
        )
        self._gate = GatedFeed(self._capture)
        self._judge = Judge(
            self._gate,
            engine,
            None,
            max_batch=engine.manifest.sampling.count,
            max_delay_s=0.0,
            confirm_within_s=1.0,
            on_verdict=self._on_verdict,
        )
        self._judge.start()
        self._capture.start()
        self._gate.gate(is_open=True)
        try:
            self._until_steady()
        except BaseException:
            self.close()
            raise

    def _on_verdict(self, frame: Frame, verdict: Verdict) -> None:
        if self._open:
            self._ages_s.append((verdict.judged_ns - frame.arrived_ns) / 1e9)
        self._capture.release(frame, "judged")
        self._gate.returned()

    def _until_steady(self) -> None:
        deadline = time.monotonic() + _UP_S
        while self._capture.counters("bench").judged < _WARM_FRAMES:
            if time.monotonic() > deadline:
                msg = f"the test pattern gave no {_WARM_FRAMES} frames within {_UP_S:g} s"
                raise BenchError(msg)
            time.sleep(0.02)
        self._gate.gate(is_open=False)

    def look(self, seconds: float) -> None:
        """Let frames be judged for so long; their ages are noted, but those of the first few."""
        self._gate.gate(is_open=True)
        time.sleep(_SETTLE_S)
        self._open = True
        time.sleep(seconds)
        self._open = False
        self._gate.gate(is_open=False)
        deadline = time.monotonic() + _UP_S
        while self._busy() and time.monotonic() < deadline:
            time.sleep(0.002)

    def _busy(self) -> bool:
        """Whether frames are with the judge; those that wait to be taken are not."""
        return self._gate.out > 0

    def close(self) -> Counters:
        """End both, and give the camera's counters. Idempotent."""
        if self._counters is None:
            self._capture.stop()
            self._judge.stop(_UP_S)
            self._counters = self._capture.counters("bench")
            self._capture.close()
        return self._counters
