"""Handing events over while the broker is down, and how many become durable a second."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING

from inspector.bench.figure import Figure, share
from inspector.bench.setting import STATION
from inspector.capture.status import DROP_CAUSES, Counters
from inspector.config.events import Kafka, Topics
from inspector.config.secrets import Secrets
from inspector.events.documents import Documents
from inspector.events.outbox import Outbox
from inspector.events.publisher import Publisher
from inspector.events.records import CameraState
from inspector.frame import Frame
from inspector.verdict import EngineInfo, Outcome, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inspector.bench.setting import Setting
    from inspector.events.documents import Event

HAND_OVER_MS = 1.0
DURABLE_PER_S = 500.0
RATE = 100.0
"""Events a second while the hand-over is timed."""
_BURST = 2000
_CAMERA = "bench"
_ENGINE = EngineInfo("simplenet", "1.0.0", "ab" * 32, "openvino", "int8")
_QUALITY = {
    "degraded": False,
    "rejected_in_window": 1,
    "judged_in_window": 5,
    "needed": 3,
    "window": 5,
    "accepted_in_row": 0,
    "recover_after": 10,
}


def measure(setting: Setting) -> Iterator[Figure]:
    """Time of a hand-over at a steady pace, and durable events a second in a burst."""
    setting.say("an outbox on this disk, and a broker that is down")
    topics = Topics()
    outbox = Outbox(
        setting.folder / "outbox",
        max_bytes=512_000_000,
        keep_s=3600.0,
        topics=topics,
        source=f"/stations/{STATION}",
    )
    down = Kafka(bootstrap_servers=("127.0.0.1:1",))
    publisher = Publisher(outbox, down, topics, Secrets({}), client_id="inspector-bench")
    publisher.start()
    try:
        make = _Maker(topics)
        bursts = [_burst(outbox, make.many(_BURST))]
        calls, durable = _paced(outbox, make, max(5.0, 3 * setting.seconds))
        bursts.append(_burst(outbox, make.many(_BURST)))
    finally:
        publisher.stop(5)
        outbox.close()
    yield Figure(
        "outbox, hand-over",
        f"time to hand an event over (p99), {RATE:g} a second and the broker down",
        _ms(share(calls, 0.99)),
        HAND_OVER_MS,
        unit="ms",
        details={
            "p50_ms": _ms(share(calls, 0.5)),
            "max_ms": _ms(max(calls)),
            "durable_ms_p50": _ms(share(durable, 0.5)),
            "durable_ms_p99": _ms(share(durable, 0.99)),
            "events": len(calls),
            "bytes_an_event": make.bytes,
        },
    )
    yield Figure(
        "outbox, durable",
        "events a second that are durable, as fast as they can be handed over",
        round(min(bursts), 1),
        DURABLE_PER_S,
        at_least=True,
        unit="/s",
        details={"bursts_per_s": [round(rate, 1) for rate in bursts], "events": _BURST},
    )


def _ms(seconds: float) -> float:
    return round(seconds * 1e3, 4)


def _burst(outbox: Outbox, events: list[Event]) -> float:
    """Durable events a second."""
    began = time.perf_counter()
    futures = [outbox.append([event], {_CAMERA: CameraState(1, {})}) for event in events]
    for future in futures:
        future.result()
    return len(events) / (time.perf_counter() - began)


def _paced(outbox: Outbox, make: _Maker, seconds: float) -> tuple[list[float], list[float]]:
    """Seconds of each hand-over, and from it until the event was durable."""
    events = make.many(int(RATE * seconds))
    calls, durable = list[float](), list[float]()
    done = threading.Semaphore(0)
    due = time.perf_counter()
    for event in events:
        due += 1 / RATE
        time.sleep(max(0.0, due - time.perf_counter()))
        asked = time.perf_counter()
        future = outbox.append([event], {_CAMERA: CameraState(1, {})})
        calls.append(time.perf_counter() - asked)

        def settled(_: object, asked: float = asked) -> None:
            durable.append(time.perf_counter() - asked)
            done.release()

        future.add_done_callback(settled)
    for _ in events:
        done.acquire()
    return calls, durable


class _Maker:
    """Makes events of rejected frames."""

    def __init__(self, topics: Topics) -> None:
        self._documents = Documents(STATION, "inspect", topics)
        self._next = 0
        self.bytes = len(json.dumps(self._one().document))

    def many(self, count: int) -> list[Event]:
        """So many events, in order."""
        return [self._one() for _ in range(count)]

    def _one(self) -> Event:
        now, self._next = time.monotonic_ns(), self._next + 1
        frame = Frame(_CAMERA, 1, self._next, 1080, 1920, now, time.time_ns(), now)
        verdict = Verdict(
            Outcome.REJECTED,
            "gblur",
            {"gblur": 0.97, "refimgs": 0.03},
            ("gblur 0.970, threshold 0.900",),
            engine=_ENGINE,
            submitted_ns=now,
            judged_ns=now,
        )
        return self._documents.frame_rejected(
            frame,
            verdict,
            decided_ns=now,
            quality=_QUALITY,
            counters=Counters(0, 0, dict.fromkeys(DROP_CAUSES, 0), 0),
        )
