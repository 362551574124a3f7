"""The books of every camera, from its worker to its verdict, while everything fails at random.

At any instant: frames in = judged + dropped by cause + in flight. Each frame that is taken gets one
verdict, in order per camera, and what is in flight comes to nothing in the end.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter

import cv2
import numpy as np
import pytest

from inspector.capture.backoff import Pace
from inspector.capture.supervisor import Capture
from inspector.config.cameras import Camera
from inspector.config.secrets import Secrets
from inspector.engine.judge import Judge
from inspector.engine.load import load_engine
from inspector.engine.occupant import Occupant
from inspector.engine.process.opening import open_engine
from inspector.engine.process.spec import OpenVinoSpec
from inspector.engine.recovery import Patience
from inspector.engine.seat import Seat
from inspector.errors import EngineError
from inspector.ruling import result_of
from tests.engine import tiny_engine
from tests.engine.fakes import FakeRuntime, engine_of

LIVE = {"kind": "pattern", "width": 128, "height": 96, "fps": 30}
WAIT_S = 120.0


class Runtime(FakeRuntime):
    """Answers any picture, by its mean; now and then a batch fails."""

    def __init__(self, name: str, share: float) -> None:
        self._chance = random.Random(name)
        self._share = share
        super().__init__(name)

    def _row(self, ref):
        picture = self._rings[ref.ring].picture(ref.slot, ref.height, ref.width)
        row = np.full(8, 0.02, np.float32)
        row[int(picture.mean()) % 8] = 0.86
        return row

    def _answer(self, tiles, future):
        if self._chance.random() < self._share:
            self.faults.append(EngineError("it failed"))
        super()._answer(tiles, future)


class Line:
    """Capture and judge, wired as the station wires them, and every verdict that came."""

    def __init__(self, cameras: dict, home, screen: Seat | None = None) -> None:
        self.verdicts: dict[str, list[tuple[int, int]]] = {name: [] for name in cameras}
        self.results: Counter[tuple[str, str]] = Counter()
        self.screen, self.confirm = Runtime("screen", 0.1), Runtime("confirm", 0.2)
        self.capture = Capture(
            {name: Camera.model_validate(camera) for name, camera in cameras.items()},
            secrets=Secrets({}),
            first_epochs={},
            on_change=lambda _: None,
            on_epoch=lambda *_: None,
            on_ring=self._on_ring,
            on_ring_end=self._on_ring_end,
            pace=Pace(first_s=0.01, most_s=0.05, slow_s=0.05),
        )
        self.judge = Judge(
            self.capture,
            screen or engine_of(home, self.screen),
            engine_of(home, self.confirm),
            max_batch=4,
            max_delay_s=0.005,
            confirm_within_s=0.02,
            on_verdict=self._on_verdict,
        )

    def _on_ring(self, ring) -> None:
        self.judge.map_ring(ring)

    def _on_ring_end(self, key: str) -> None:
        self.judge.unmap_ring(key)

    def _on_verdict(self, frame, verdict) -> None:
        result = result_of(verdict)
        self.verdicts[frame.camera].append((frame.stream_epoch, frame.sequence))
        self.results[frame.camera, result] += 1
        self.capture.release(frame, result)

    def check(self) -> None:
        for name, status in self.capture.status().items():
            books = status.counters
            assert books.in_flight >= 0, (name, books)
            accounted = books.judged + sum(books.dropped.values()) + books.in_flight
            assert books.frames_in == accounted, (name, books)

    def until(self, holds, what: str) -> None:
        deadline = time.monotonic() + WAIT_S
        while not holds():
            self.check()
            assert time.monotonic() < deadline, f"waited for {what}; {self.capture.status()}"

    def kill(self, name: str) -> None:
        """End a camera's worker, and wait until that is noticed."""
        before = sum(self.capture.status()[name].restarts.values())
        process = self.capture._links[name].process
        assert process is not None, "it has just sent a frame"
        os.kill(process.pid, signal.SIGKILL)
        self.until(lambda: sum(self.capture.status()[name].restarts.values()) > before, "the crash")

    def close(self) -> None:
        self.capture.stop()
        self.judge.stop(WAIT_S)
        self.capture.close()
        for runtime in (self.screen, self.confirm):
            runtime.close()


@pytest.fixture
def line(tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for n in range(4):
        cv2.imwrite(str(pictures / f"{n}.png"), np.full((80, 80, 3), n, np.uint8))
    (pictures / "4.jpg").write_bytes(b"\xff\xd8\xff nothing")
    cv2.imwrite(str(pictures / "5.png"), np.full((8, 8, 3), 5, np.uint8))
    folder = {"kind": "images", "folder": str(pictures), "loop": True, "every_s": 0.02}
    made = Line(
        {
            "a": {"source": LIVE, "slots": 2},
            "b": {"source": LIVE, "inspect": {"every_s": 0.1}},
            "folder": {"source": folder, "slots": 3},
        },
        tiny_engine.make(tmp_path, "tiny"),
    )
    yield made
    made.close()


def test_the_books_balance_at_any_time_and_close_in_the_end(line):
    line.judge.start()
    line.capture.start()
    watching = True
    failures: list[AssertionError] = []

    def watch() -> None:
        while watching and not failures:
            try:
                line.check()
            except AssertionError as error:
                failures.append(error)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        chance = random.Random(11)
        for kill in range(9):
            name = ("a", "b", "folder")[kill % 3]
            count = len(line.verdicts[name])
            line.until(
                lambda n=name, c=count: len(line.verdicts[n]) >= c + 3, f"verdicts of {name}"
            )
            time.sleep(chance.uniform(0, 0.03))  # the instant is the experiment
            line.kill(name)
    finally:
        watching = False
        watcher.join()
    line.close()
    assert failures == []
    line.check()
    for name, status in line.capture.status().items():
        books = status.counters
        assert books.in_flight == 0, name
        assert line.verdicts[name] == sorted(set(line.verdicts[name])), "once each, in order"
        assert books.judged == line.results[name, "judged"]
        assert books.dropped["engine_error"] == line.results[name, "engine_error"]
        assert status.restarts["crashed"] == 3
    assert sum(count for (_, result), count in line.results.items() if result == "engine_error")


def test_the_books_balance_while_cameras_come_change_and_go(line):
    """Reloads in a row, with workers killed in the middle of some; `a` is not concerned."""
    line.judge.start()
    line.capture.start()
    failures: list[AssertionError] = []
    watching = True

    def watch() -> None:
        while watching and not failures:
            try:
                line.check()
            except AssertionError as error:
                failures.append(error)
            time.sleep(0.001)

    watcher = threading.Thread(target=watch)
    watcher.start()
    cameras = {name: link.camera for name, link in line.capture._links.items()}
    closed: list[tuple[str, object]] = []
    chance = random.Random(5)
    try:
        for turn in range(1, 13):
            present = {n: c for n, c in cameras.items() if n == "a" or chance.random() < 0.7}
            for name, link in list(line.capture._links.items()):
                if name != "a" and link.process is not None and chance.random() < 0.3:
                    os.kill(link.process.pid, signal.SIGKILL)
            anew = {name for name in present if name != "a" and chance.random() < 0.5}
            left = line.capture.apply(
                present, first_epochs=dict.fromkeys(cameras, turn * 1000), anew=anew
            )
            closed += left.items()
            name = chance.choice([*present])
            count = len(line.verdicts[name])
            line.until(lambda n=name, c=count: len(line.verdicts[n]) > c, f"verdicts of {name}")
    finally:
        watching = False
        watcher.join()
    line.close()
    assert failures == []
    judged: Counter[str] = Counter()
    last = [(name, future.result(0)) for name, future in closed]
    last += [(name, status.counters) for name, status in line.capture.status().items()]
    for name, books in last:
        assert books.in_flight == 0, name
        assert books.frames_in == books.judged + sum(books.dropped.values()), name
        judged[name] += books.judged
    assert closed, "some camera was removed"
    for name, verdicts in line.verdicts.items():
        assert verdicts == sorted(set(verdicts)), "once each, in order"
        assert judged[name] == line.results[name, "judged"]
    assert {epoch for epoch, _ in line.verdicts["a"]} == {0}
    assert line.capture.status()["a"].restarts == {}
    assert line.capture.status()["a"].counters.dropped["worker_lost"] == 0


@pytest.mark.parametrize("standby", [True, False])
def test_the_books_balance_while_engine_processes_die_and_hang(tmp_path, standby):
    """With a standby every frame is judged; without one some are not, and are counted."""
    home = tiny_engine.make(tmp_path, "tiny")
    inside = load_engine(home, precision="fp32", threads=1)
    spec = OpenVinoSpec(home, "fp32", 4, threads=1)

    def revive():
        return open_engine(inside.manifest, spec)

    words = []
    seat = Seat(
        Occupant(revive(), inside if standby else None, revive),
        on_change=lambda change: words.append(change.word),
        patience=Patience(first_s=0.05, most_s=0.1),
    )
    line = Line({"a": {"source": LIVE}, "b": {"source": LIVE, "slots": 3}}, home, seat)
    line.judge.start()
    line.capture.start()
    try:
        for number in (signal.SIGKILL, signal.SIGSTOP, signal.SIGSEGV, signal.SIGKILL):
            count = {name: len(line.verdicts[name]) for name in ("a", "b")}
            line.until(
                lambda c=count: all(len(line.verdicts[n]) >= c[n] + 3 for n in c), "verdicts"
            )
            told = len(words)
            os.kill(seat.occupant.engine.runtime.pid, number)
            line.until(
                # Starved of time, it may be taken for one that hangs, and be replaced once more.
                lambda t=told: words[t : t + 1] == ["lost"] and words[-1] == "restored",
                "a fresh process",
            )
        line.close()
        line.check()
    finally:
        line.close()
        seat.close()
        inside.close()
    for name, status in line.capture.status().items():
        books = status.counters
        assert books.in_flight == 0, name
        assert line.verdicts[name] == sorted(set(line.verdicts[name])), "once each, in order"
        assert books.judged == line.results[name, "judged"]
        assert books.dropped["engine_error"] == line.results[name, "engine_error"]
        assert status.restarts == {}
    failed = sum(count for (_, result), count in line.results.items() if result == "engine_error")
    assert (failed == 0) is standby
