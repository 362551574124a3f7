"""What evidence costs: encoding a picture, and the wait of an event for it.

    python -m tests.bench.bench_evidence

Prints, for 1080p pictures of a recording with a camera's noise on them: processor time and size by
format, then the time from a verdict until its event is durable, with and without evidence, at ten
rejects a second of one camera.
"""

from __future__ import annotations

import logging
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import structlog

from inspector.capture.status import DROP_CAUSES, Counters
from inspector.config.evidence import Evidence as Settings
from inspector.config.station import Station
from inspector.events.documents import Documents
from inspector.events.outbox import Outbox
from inspector.evidence.encoding import encode
from inspector.evidence.store import Evidence
from inspector.frame import Frame
from inspector.observe.metrics import Metrics
from inspector.ruling import Rulings
from inspector.slots import Ring
from inspector.verdict import EngineInfo, Outcome, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

CLIP = Path(__file__).parents[2] / "configs" / "demo" / "clip.mp4"
HEIGHT, WIDTH = 1080, 1920
EVENTS, EVERY_S = 150, 0.1


def main() -> None:
    """Measure and print."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    picture = noisy_picture()
    for suffix, times in (("jpg", 40), ("png", 10), ("webp", 4)):
        took, size = encoding(picture, suffix, times)
        print(f"{suffix:4}  {took * 1e3:6.1f} ms of one core, {size / 1e6:.2f} MB")
    for form in (None, "jpeg", "png"):
        with tempfile.TemporaryDirectory() as folder:
            waits = until_durable(Path(folder), picture, form)
        cut = statistics.quantiles(waits, n=100)
        print(f"verdict to durable event, {form}: median {cut[49]:.1f} ms, 99 % {cut[98]:.1f} ms")


def noisy_picture() -> NDArray[np.uint8]:
    """A frame of the demo's recording, enlarged, with noise of 3 grey levels."""
    done, frame = cv2.VideoCapture(str(CLIP)).read()
    assert done
    large = cv2.resize(frame, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    noise = np.random.default_rng(0).normal(0, 3, large.shape)
    return (large + noise).clip(0, 255).astype(np.uint8)


def encoding(picture: NDArray[np.uint8], suffix: str, times: int) -> tuple[float, int]:
    """Median processor seconds, and bytes."""
    took = []
    for _ in range(times):
        began = time.thread_time()
        data = encode(picture, suffix, 92)
        took.append(time.thread_time() - began)
    return statistics.median(took), len(data)


def until_durable(folder: Path, picture: NDArray[np.uint8], form: str | None) -> Sequence[float]:
    """Milliseconds from each verdict until its event is on disk, as the station's metric has it."""
    station = Station.model_validate(
        {"version": 1, "station": "bench", "cameras": {"a": {"source": {"kind": "pattern"}}}}
    )
    topics = station.events.topics
    outbox = Outbox(folder, max_bytes=10**8, keep_s=60, topics=topics, source="/stations/bench")
    metrics, evidence, ring = Metrics(dict), None, Ring.create("a/1", slots=6, max_pixels=2_100_000)
    if form is not None:
        settings = Settings.model_validate({"format": form, "per_minute": 6000, "min_free_mb": 0})
        evidence = Evidence(folder / "evidence", settings, slots={"a": 6}, stored=lambda _: {})
        evidence.start()
        time.sleep(0.5)
    for slot in range(6):
        ring.picture(slot, HEIGHT, WIDTH)[:] = picture
    waits: list[float] = []
    metrics.stage_seconds.labels("store").observe = lambda s: waits.append(s * 1e3)  # type: ignore[method-assign]
    rulings = Rulings(station, Documents("bench", "inspect", topics), outbox, metrics, evidence)
    counters = Counters(1, 1, dict.fromkeys(DROP_CAUSES, 0), 0)
    info = EngineInfo("simplenet", "1.0.0", "ab" * 32, "openvino", "int8")
    for i in range(EVENTS):
        now = time.monotonic_ns()
        frame = Frame("a", 1, i, HEIGHT, WIDTH, now, time.time_ns(), now, None, ring, i % 6)
        verdict = Verdict(Outcome.REJECTED, "wn", {"wn": 0.9}, ("",), None, info, None, now, now)
        rulings.rule(frame, verdict, lambda _: counters, lambda: None)
        time.sleep(EVERY_S)
    if evidence is not None:
        evidence.settle(20)
        skipped = evidence.stats().cameras["a"]["skipped"]
        print(f"  {form}: {evidence.stats().files} kept, skipped {skipped or 'none'}")
    outbox.close(20)
    if evidence is not None:
        evidence.close(20)
    return waits


if __name__ == "__main__":
    main()
