"""Throughput of the whole way of a frame, from memory, against the bare engine's.

Both sides use one runtime, its threads, and its batches. The bare engine gets the same tiles of
the same slots again and again, two batches in flight. The pipeline is judge, policy, metrics and
outbox.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from inspector.bench.feeds import MemoryFeed
from inspector.bench.figure import BenchError, Figure, bracketed_ratio
from inspector.bench.setting import STATION, station_of, with_tiles
from inspector.capture.status import DROP_CAUSES, Counters
from inspector.engine.bench import batches_per_s
from inspector.engine.golden import read_golden
from inspector.engine.judge import Judge
from inspector.engine.runtime import TileRef
from inspector.engine.tiling import tiles_of
from inspector.events.documents import Documents
from inspector.events.outbox import Outbox
from inspector.observe.metrics import Metrics
from inspector.ruling import Rulings
from inspector.verdict import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from inspector.bench.setting import Setting
    from inspector.engine.load import Engine
    from inspector.engine.manifest import Manifest
    from inspector.frame import Frame
    from inspector.verdict import Verdict

BOUNDS = {4: 0.95, 1: 0.90}
"""Tiles a frame, and the least part of the bare engine's throughput."""
_SLOTS = 16
_LEAST_BATCHES = 6
_LOOK_S = 0.0005
_BATCH_S = 0.002
"""The verdicts of one batch all come within this time."""
_IDLE_S = 60.0
_NO_COUNTERS = Counters(0, 0, dict.fromkeys(DROP_CAUSES, 0), 0)


def measure(setting: Setting) -> Iterator[Figure]:
    """The pipeline's part of the bare engine's throughput, for each number of tiles a frame."""
    engine = setting.load()
    try:
        for tiles, bound in BOUNDS.items():
            setting.say(f"pipeline and bare engine in turn, {tiles} tiles a frame")
            yield measure_engine(setting, with_tiles(engine, tiles), tiles, bound)
    finally:
        engine.close()


def measure_engine(setting: Setting, engine: Engine, tiles: int, bound: float) -> Figure:
    """The pipeline's part of one engine's throughput, with so many tiles a frame."""
    feed = MemoryFeed(good_pictures(engine.manifest, tiles, _SLOTS))
    try:
        with _pipeline(engine, feed, setting.folder) as accepted:
            bare = [_bare(engine, feed, tiles, setting.seconds)]
            ours = []
            for _ in range(setting.rounds):
                ours.append(_piped(feed, setting.seconds))
                bare.append(_bare(engine, feed, tiles, setting.seconds))
            part = sum(accepted) / max(1, len(accepted))
    finally:
        feed.ring.close()
    return Figure(
        f"pipeline, {tiles} tiles a frame",
        "throughput from memory to verdict, part of the bare engine's",
        round(bracketed_ratio(ours, bare), 4),
        bound,
        at_least=True,
        details={
            "pipeline_frames_per_s": round(float(np.median(ours)), 2),
            "bare_frames_per_s": round(float(np.median(bare)), 2),
            "precision": engine.info.precision,
            "batch_tiles": engine.runtime.max_batch,
            "accepted_share": round(part, 3),
            "rounds": setting.rounds,
        },
    )


def good_pictures(manifest: Manifest, tiles: int, count: int) -> NDArray[np.uint8]:
    """Pictures of the size of their tiles, made of golden tiles that are to be accepted.

    Returns:
        (count, height, width, 3) uint8 BGR.
    """
    golden = read_golden(manifest)
    good = [i for i, label in enumerate(golden.labels) if label in manifest.acceptable]
    if not good:
        msg = f"engine {manifest.name} has no golden tile of an acceptable label"
        raise BenchError(msg)
    rows = round(tiles**0.5)
    block = golden.tiles[[good[i % len(good)] for i in range(tiles)]]
    lines = [np.concatenate(list(line), axis=1) for line in np.array_split(block, rows)]
    picture = np.concatenate(lines, axis=0)
    return np.repeat(picture[None], count, axis=0)


@contextmanager
def _pipeline(engine: Engine, feed: MemoryFeed, folder: Path) -> Iterator[list[bool]]:
    """The stages behind the feed; gives a list that notes of each frame whether it was accepted."""
    config = station_of({"bench": {"source": {"kind": "pattern"}}})
    topics = config.events.topics
    outbox = Outbox(
        folder / "pipeline",
        max_bytes=512_000_000,
        keep_s=60.0,
        topics=topics,
        source=f"/stations/{STATION}",
    )
    rulings = Rulings(config, Documents(STATION, "inspect", topics), outbox, Metrics(dict))
    accepted: list[bool] = []

    def on_verdict(frame: Frame, verdict: Verdict) -> None:
        accepted.append(verdict.outcome is Outcome.ACCEPTED)
        rulings.rule(frame, verdict, lambda _: _NO_COUNTERS, partial(feed.give_back, frame))

    judge = Judge(
        feed,
        engine,
        None,
        max_batch=16,
        max_delay_s=0.005,
        confirm_within_s=0.2,
        on_verdict=on_verdict,
    )
    judge.map_ring(feed.ring)
    judge.start()
    try:
        yield accepted
    finally:
        feed.gate(is_open=False)
        judge.stop(_IDLE_S)
        judge.unmap_ring(feed.ring.key)
        outbox.close()


def _piped(feed: MemoryFeed, seconds: float) -> float:
    """Frames a second through the pipeline."""
    feed.gate(is_open=True)
    _next_batch(feed)
    (first, began), batches = _next_batch(feed), 0
    last, ended = first, began
    while ended < began + seconds or batches < _LEAST_BATCHES:
        last, ended = _next_batch(feed)
        batches += 1
    rate = (last - first) / (ended - began)
    feed.gate(is_open=False)
    if not feed.idle(_IDLE_S):
        msg = f"the pipeline did not finish its frames within {_IDLE_S:g} s"
        raise BenchError(msg)
    return rate


def _next_batch(feed: MemoryFeed) -> tuple[int, float]:
    """Wait for the verdicts of a batch; frames judged so far, and when."""
    before, deadline = feed.judged, time.monotonic() + _IDLE_S
    while feed.judged == before:
        if time.monotonic() > deadline:
            msg = f"the pipeline gave no verdict within {_IDLE_S:g} s"
            raise BenchError(msg)
        time.sleep(_LOOK_S)
    time.sleep(_BATCH_S)
    return feed.judged, time.perf_counter()


def _bare(engine: Engine, feed: MemoryFeed, tiles: int, seconds: float) -> float:
    """Frames a second of the bare engine, in batches as the pipeline makes them."""
    size = engine.manifest.sampling.tile
    frames = max(1, engine.runtime.max_batch // tiles)
    places = tiles_of(feed.height, feed.width, size=size, count=tiles, where="spread")
    refs = [
        TileRef(feed.ring.key, slot, feed.height, feed.width, place)
        for slot in range(frames)
        for place in places
    ]
    return batches_per_s(engine.runtime, refs, seconds) * frames
