"""What the line costs: from a verdict to `valid` on the wire, handing over, and the polling.

    python -m tests.bench.bench_line

The Modbus server runs in a process of its own, on the same machine, and goes through the handshake
with four cameras at once. `valid` counts as on the wire when the server has confirmed it. Then the
acknowledgement is left out 30 times: how long after `acknowledge_ms` is the alarm there?
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import statistics
import threading
import time
from typing import TYPE_CHECKING

import structlog

from inspector.config.line import Line
from inspector.line.parts import Finding, Part
from inspector.line.registers import Answer, Result
from inspector.line.signals import Signals
from tests.servers.plc import PlcServer

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

CAMERAS = ("a", "b", "c", "d")
SECONDS, PARTS_A_SECOND = 20.0, 20.0
ALARMS, ACKNOWLEDGE_MS = 30, 100.0
REJECT = Finding(Result.REJECT, 3, 990)


class Judge:
    """Takes triggers, and hands each verdict over 20 ms later from another thread."""

    def __init__(self) -> None:
        self.signals: Signals | None = None
        self.waits_ms: list[float] = []
        self.handed_us: list[float] = []
        self.alarms_ms: list[float] = []
        self._raised_at = 0.0

    def connected(self) -> None:
        pass

    def triggered(self, camera: str, part: Part) -> None:
        threading.Timer(0.02, self._judged, (camera, part)).start()

    def _judged(self, camera: str, part: Part) -> None:
        assert self.signals is not None
        began = time.perf_counter()
        self.signals.resolve(camera, part, REJECT)
        self.handed_us.append((time.perf_counter() - began) * 1e6)

    def raised(self, camera: str, answer: Answer, after_s: float | None) -> None:
        self._raised_at = time.perf_counter()
        if after_s is not None:
            self.waits_ms.append(after_s * 1e3)

    def faulted(self, camera: str | None, cause: str, detail: str) -> None:
        if cause != "no_acknowledge":
            print("fault", camera, cause, detail)
        self.alarms_ms.append((time.perf_counter() - self._raised_at) * 1e3 - ACKNOWLEDGE_MS)

    def restored(self, camera: str | None, cause: str, after_s: float) -> None:
        pass


def serve(pipe: Connection) -> None:
    """The PLC: a part every 50 ms on each camera, acknowledged within a millisecond or two."""
    with PlcServer() as plc:
        pipe.send(plc.port)
        number, due = [0] * len(CAMERAS), [time.monotonic()] * len(CAMERAS)
        while not pipe.poll():
            for camera in range(len(CAMERAS)):
                status = plc.status(camera)
                if status.valid:
                    plc.says(camera, acknowledge=True)
                elif status.ready and time.monotonic() >= due[camera]:
                    number[camera] += 1
                    due[camera] += 1 / PARTS_A_SECOND
                    plc.says(camera, trigger=True, part=number[camera])
                elif not status.busy and not status.ready:
                    plc.says(camera)
            time.sleep(0.001)


def alarms() -> list[float]:
    """Milliseconds from the end of the time for an acknowledgement to the alarm."""
    judge = Judge()
    with PlcServer() as plc:
        line = Line.model_validate(
            {
                "modbus": {"host": "127.0.0.1", "port": plc.port},
                "acknowledge_ms": ACKNOWLEDGE_MS,
                "cameras": {"a": {"trigger": "frames"}},
            }
        )
        judge.signals = Signals(line, {"a": None}, judge)
        judge.signals.start()
        for count in range(1, ALARMS + 1):
            judge.signals.signal("a", REJECT)
            plc.until("alarm", lambda count=count: len(judge.alarms_ms) == count)
            plc.says(reset=True)
            plc.until_ready()
            plc.says()
            time.sleep(0.02)
        judge.signals.stop(0)
    return judge.alarms_ms


def main() -> None:
    """Measure and print."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,), daemon=True)
    server.start()
    line = Line.model_validate({"modbus": {"host": "127.0.0.1", "port": ours.recv()}})
    judge = Judge()
    judge.signals = Signals(line, dict.fromkeys(CAMERAS), judge)
    judge.signals.start()
    began, used = time.perf_counter(), time.process_time()
    time.sleep(SECONDS)
    share = (time.process_time() - used) / (time.perf_counter() - began)
    counters = [camera["counters"] for camera in judge.signals.status()["cameras"].values()]
    judge.signals.stop(1)
    ours.send("end")
    server.join(5)
    print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} processors")
    for what, values, unit in (
        ("verdict to valid", judge.waits_ms, "ms"),
        ("handing over", judge.handed_us, "us"),
    ):
        cut = statistics.quantiles(values, n=100)
        print(
            f"{what}: {len(values)} parts, median {cut[49]:.2f} {unit}, 99 % {cut[98]:.2f} {unit}, "
            f"longest {max(values):.2f} {unit}"
        )
    print(
        f"{sum(c['reject'] for c in counters)} told, {sum(c['no_result'] for c in counters)} late"
    )
    cut = statistics.quantiles(alarms(), n=100)
    print(f"alarm after acknowledge_ms: median {cut[49]:.2f} ms, 99 % {cut[98]:.2f} ms")
    print(f"{share:.3f} of one processor for {len(CAMERAS)} cameras")


if __name__ == "__main__":
    main()
