"""How fast events become durable, with the broker down: `python -m tests.bench.bench_outbox`.

Measures, on the disk of FOLDER (the working folder by default; one in memory says nothing):
- events a second that become durable when they are appended as fast as they can be,
- the time of one `append` call, at a steady pace of `--rate` events a second,
- the time from `append` until the event is durable, at that pace.
Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import structlog

from inspector.config.events import Kafka
from inspector.config.secrets import Secrets
from inspector.events.publisher import Publisher
from inspector.events.records import CameraState
from tests.events.making import Maker, open_outbox


def milliseconds(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {
        name: round(ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1e3, 3)
        for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.bench_outbox")
    parser.add_argument("--folder", type=Path, default=Path.cwd())
    parser.add_argument("--events", type=int, default=5000)
    parser.add_argument("--rate", type=float, default=100.0)
    parser.add_argument("--seconds", type=float, default=20.0)
    given = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    make = Maker()
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        box = open_outbox(Path(folder) / "state", max_bytes=512_000_000)
        down = Kafka(bootstrap_servers=("127.0.0.1:1",))
        publisher = Publisher(box, down, make.topics, Secrets())
        publisher.start()

        events = make.many(given.events)
        began = time.perf_counter()
        futures = [box.append([event], {"infeed": CameraState(1)}) for event in events]
        for future in futures:
            future.result()
        burst_s = time.perf_counter() - began

        calls, durable = list[float](), list[float]()
        events = make.many(int(given.rate * given.seconds))
        next_at = time.perf_counter()
        for event in events:
            next_at += 1 / given.rate
            time.sleep(max(0.0, next_at - time.perf_counter()))
            asked = time.perf_counter()
            future = box.append([event], {"infeed": CameraState(1)})
            calls.append(time.perf_counter() - asked)
            future.add_done_callback(lambda _, t=asked: durable.append(time.perf_counter() - t))
        futures[-1].result()
        publisher.stop(5)
        box.close()
        print(
            json.dumps(
                {
                    "bytes_an_event": len(json.dumps(events[0].document)),
                    "burst_durable_events_per_s": round(given.events / burst_s),
                    "pace_events_per_s": given.rate,
                    "append_ms": milliseconds(calls),
                    "durable_ms": milliseconds(durable),
                }
            )
        )


if __name__ == "__main__":
    main()
