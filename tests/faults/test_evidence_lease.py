"""A frame in the encoder outlives its camera's worker: its pixels stay, it comes back once."""

from __future__ import annotations

import os
import signal
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

import cv2
import numpy as np

from inspector.capture.backoff import Pace
from inspector.capture.supervisor import Capture
from inspector.config.cameras import Camera
from inspector.config.evidence import Evidence as Settings
from inspector.config.secrets import Secrets
from inspector.evidence import store
from inspector.evidence.store import Evidence, Kept, Kind
from tests.evidence.making import NOW_MS, id_at, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from inspector.frame import Frame


def test_the_pixels_of_a_dead_worker_are_kept_and_its_ring_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, encode = threading.Event(), store.encode
    monkeypatch.setattr(store, "encode", lambda *a: held.wait(60) and encode(*a))
    evidence = Evidence(
        tmp_path / "evidence",
        Settings(format="png", min_free_mb=0, within_ms=60_000),
        slots={"belt": 6},
        stored=lambda _: {},
    )
    evidence.start()
    ended: list[str] = []
    capture = Capture(
        {"belt": Camera.model_validate({"source": {"kind": "pattern", "width": 64, "height": 64}})},
        secrets=Secrets({}),
        first_epochs={},
        on_change=lambda _: None,
        on_epoch=lambda *_: None,
        on_ring=lambda _: None,
        on_ring_end=ended.append,
        pace=Pace(first_s=0.01, most_s=0.05, slow_s=0.05),
    )
    capture.start()
    try:
        assert capture.wait(30)
        (frame,) = capture.take(1)
        pixels = frame.picture().copy()
        wait_until(lambda: evidence._keeper.open)
        release = partial(capture.release, frame, "judged")
        future = evidence.keep(frame, id_at(NOW_MS), [Kind.REJECTED], release)
        _kill(capture)
        _judge_a_few(capture)  # frames of the next worker, in a ring of their own
        assert "belt/0" not in ended
        held.set()
        kept = future.result(60)
        assert isinstance(kept, Kept)
        read = cv2.imread(str(tmp_path / "evidence" / kept.name.uri))
        assert read is not None
        np.testing.assert_array_equal(read, pixels)
        wait_until(lambda: "belt/0" in ended)
    finally:
        held.set()
        capture.stop()
        evidence.close(5)
        capture.close()
    books = capture.counters("belt")
    assert books.in_flight == 0
    assert books.frames_in == books.judged + sum(books.dropped.values())


def test_a_stop_while_a_picture_is_encoded_balances_the_books_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The capture may be closed before the encoder hands its frame back."""
    held, encode = threading.Event(), store.encode
    monkeypatch.setattr(store, "encode", lambda *a: held.wait(60) and encode(*a))
    evidence = Evidence(
        tmp_path / "evidence", Settings(min_free_mb=0), slots={"belt": 6}, stored=lambda _: {}
    )
    evidence.start()
    wait_until(lambda: evidence._keeper.open)
    capture = Capture(
        {"belt": Camera.model_validate({"source": {"kind": "pattern", "width": 64, "height": 64}})},
        secrets=Secrets({}),
        first_epochs={},
        on_change=lambda _: None,
        on_epoch=lambda *_: None,
        on_ring=lambda _: None,
        on_ring_end=lambda _: None,
    )
    capture.start()
    assert capture.wait(30)
    (frame,) = capture.take(1)
    release = partial(capture.release, frame, "judged")
    future = evidence.keep(frame, id_at(NOW_MS), [Kind.REJECTED], release)
    capture.stop()
    assert not evidence.settle(0.05)
    assert future.done()
    capture.close()
    assert capture.counters("belt").in_flight == 1
    held.set()
    wait_until(lambda: capture.counters("belt").in_flight == 0)
    evidence.close(5)
    books = capture.counters("belt")
    assert books.frames_in == books.judged + sum(books.dropped.values())


def _kill(capture: Capture) -> None:
    process = capture._links["belt"].process
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    wait_until(lambda: sum(capture.status()["belt"].restarts.values()) > 0)


def _judge_a_few(capture: Capture) -> None:
    seen: list[Frame] = []
    deadline = time.monotonic() + 60
    while len(seen) < 8 and time.monotonic() < deadline:
        capture.wait(1)
        for frame in capture.take(4):
            seen.append(frame)
            capture.release(frame, "judged")
    assert {frame.stream_epoch for frame in seen} == {1}
