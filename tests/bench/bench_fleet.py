"""What the fleet view costs: 200 stations of four cameras, 5 events a second each.

    python -m tests.bench.bench_fleet [SECONDS]

First without a broker: taking records in, making the page's document, comparing labels, memory.
Then `inspector dashboard` on a real broker: the past read at full speed, and its processor time
while events come at the given rate, each in a batch of its own as separate stations send them, with
one viewer at the page.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
from kafka import KafkaAdminClient, KafkaProducer

from inspector.config.fleet import Fleet as Settings
from inspector.events.documents import encode
from inspector.fleet.fleet import Fleet
from inspector.fleet.view import board, drifts
from tests.fleet.making import FakeClock, Teller
from tests.servers.kafka import Broker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inspector.events.documents import Event

STATIONS, RATE = 200, 5
CAMERAS = ("infeed", "outfeed", "left", "right")
LABELS = ("gblur", "bad_lighting", "motion_blur", "wn")
HEARTBEAT_S = 10
DAY = 86_400
BACKLOG = 200_000


def tellers(clock: FakeClock) -> list[Teller]:
    return [Teller(f"station-{i:03d}", clock, CAMERAS) for i in range(STATIONS)]


def second(stations: list[Teller], at: int) -> Iterator[Event]:
    """What all stations tell in one second."""
    for number, teller in enumerate(stations):
        for i in range(RATE):
            yield teller.frame(label=LABELS[(at + i) % 4], camera=CAMERAS[i % 4])
        if (number + at) % HEARTBEAT_S == 0:
            for camera in CAMERAS:
                teller.judged[camera] = teller.judged.get(camera, 0) + 5 * HEARTBEAT_S
            yield teller.beat()


def without_broker() -> None:
    clock = FakeClock(time.time() - 3 * DAY)
    given = {"kafka": {"bootstrap_servers": ["none:9092"]}, "lines": {"one": ["station-0*"]}}
    fleet = Fleet(Settings.model_validate(given), clock)
    stations = tellers(clock)
    # Three days, a moment of each hour: every camera has its history.
    spent, records = 0.0, 0
    for hour in range(71):
        clock.now += 3600
        for at in range(hour, hour + 2):
            batch = [encode(event.document) for event in second(stations, at)]
            began = time.process_time()
            fleet.take(batch, live=True)
            spent += time.process_time() - began
            records += len(batch)
    print(f"taken in            {spent / records * 1e6:8.1f} us a record ({records} records)")
    for name, make in (("the page's document", board), ("labels compared", drifts)):
        began = time.process_time()
        for _ in range(5):
            make(fleet, clock.now)
        print(f"{name:19} {(time.process_time() - began) / 5 * 1e3:8.1f} ms")
    print(f"ledger              {fleet.ledger._counts.nbytes / 1e6:8.1f} MB")


def _write(bootstrap: str, seconds: int, ready: object) -> None:
    clock = FakeClock(time.time())
    stations = tellers(clock)
    own = {"bootstrap_servers": bootstrap, "compression_type": "gzip"}
    past = KafkaProducer(**own, linger_ms=50, batch_size=65_536)
    at = 0
    sent = 0
    while sent < BACKLOG:
        for event in second(stations, at):
            past.send(event.topic, encode(event.document), event.key.encode())
            sent += 1
        at += 1
    past.close()
    ready.set()  # type: ignore[attr-defined]
    each = KafkaProducer(**own, linger_ms=0, batch_size=0)
    began = time.monotonic()
    for number in range(seconds):
        clock.now = time.time()
        events = list(second(stations, at + number))
        for i, event in enumerate(events):
            each.send(event.topic, encode(event.document), event.key.encode())
            wait = began + number + i / len(events) - time.monotonic()
            if wait > 0.01:
                time.sleep(wait)
    took = time.monotonic() - began
    each.close()
    print(f"written             {seconds * STATIONS * RATE / took:8.0f} events a second")


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory_mb(pid: int) -> float:
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def with_broker(seconds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        broker = Broker(Path(folder))
        broker.start()
        context = multiprocessing.get_context("spawn")
        ready = context.Event()
        writer = context.Process(target=_write, args=(broker.bootstrap, seconds, ready))
        dashboard = None
        try:
            admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
            topics = ("inspection.rejects", "inspection.status")
            admin.create_topics(
                {name: {"num_partitions": 6, "replication_factor": 1} for name in topics}
            )
            admin.close()
            writer.start()
            ready.wait()
            log = (Path(folder) / "log").open("wb")
            dashboard = subprocess.Popen(
                [
                    *(sys.executable, "-m", "inspector.cli", "dashboard", "--listen"),
                    *("127.0.0.1:18788", "--kafka", broker.bootstrap),
                ],
                stderr=log,
            )
            _measure(dashboard.pid, "http://127.0.0.1:18788/", seconds)
        finally:
            for process in (dashboard, writer):
                if process is not None:
                    process.terminate()
            broker.kill()


def _measure(pid: int, page: str, seconds: int) -> None:
    while True:
        try:
            told = httpx.get(page + "api/fleet", timeout=5).json()
            break
        except httpx.TransportError:
            time.sleep(0.1)
    before, began = _cpu_s(pid), time.monotonic()
    first = told["counts"].get("records", 0)
    heartbeats = 0.0
    while not told["reading"]["caught_up"]:
        time.sleep(0.2)
        told = httpx.get(page + "api/fleet", timeout=5).json()
        if told["reading"]["heartbeats_read"] and not heartbeats:
            heartbeats = time.monotonic() - began
    read = told["counts"]["records"] - first
    took, cpu = time.monotonic() - began, _cpu_s(pid) - before
    print(f"the past            {read / took:8.0f} records a second, {cpu / read * 1e6:.0f} us of")
    print(f"                             processor time each ({read} records)")
    print(f"heartbeats read in  {heartbeats:8.1f} s of {took:.1f} s")
    stop = threading.Event()
    answers: list[float] = []

    def view() -> None:
        while not stop.wait(2):
            asked = time.monotonic()
            httpx.get(page + "api/fleet", timeout=5)
            answers.append(time.monotonic() - asked)

    viewer = threading.Thread(target=view)
    viewer.start()
    time.sleep(3)
    told = httpx.get(page + "api/fleet", timeout=5).json()
    before, began, first = _cpu_s(pid), time.monotonic(), told["counts"]["records"]
    time.sleep(max(5, seconds - took - 10))
    told = httpx.get(page + "api/fleet", timeout=5).json()
    took, cpu = time.monotonic() - began, _cpu_s(pid) - before
    stop.set()
    viewer.join()
    rate = (told["counts"]["records"] - first) / took
    print(
        f"live                {rate:8.0f} records a second take {cpu / took * 100:.0f} % of a core"
    )
    print(f"behind              {told['reading']['behind']:8d} records")
    print(f"an answer           {sorted(answers)[len(answers) // 2] * 1e3:8.0f} ms (median)")
    print(f"memory              {_memory_mb(pid):8.0f} MB")


if __name__ == "__main__":
    print(f"load of the machine {os.getloadavg()[0]:8.1f} on {os.cpu_count()} cores")
    without_broker()
    with_broker(int(sys.argv[1]) if len(sys.argv) > 1 else 60)
