"""A station's capture stage for tests: real workers, and all that they tell."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from inspector.capture.backoff import Pace
from inspector.capture.supervisor import Capture
from inspector.config.cameras import Camera
from inspector.config.secrets import Secrets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from inspector.capture.status import CameraStatus
    from inspector.frame import Frame, Trigger

LONG_S = 60.0
"""Beyond this a wait has failed; no test is meant to take that long."""

QUICK = Pace(first_s=0.1, most_s=0.4, slow_s=1.0)


class Rig:
    """A capture stage, and a judge that notes each frame and hands it back."""

    def __init__(self, cameras, secrets=None, pace=QUICK, first_epochs=None, counted=()) -> None:
        self.changes: list[CameraStatus] = []
        self.epochs: list[tuple[str, int]] = []
        self.rings: list[str] = []
        self.rings_ended: list[str] = []
        self.frames: list[Frame] = []
        self.notes: list[object] = []
        self.missed: list[tuple[Trigger, str, str]] = []
        self.look: Callable[[Frame], object] = lambda frame: None
        self.capture = Capture(
            {name: Camera.model_validate(camera) for name, camera in cameras.items()},
            secrets=Secrets(secrets or {}),
            first_epochs=first_epochs or {},
            on_change=self.changes.append,
            on_epoch=lambda *fact: self.epochs.append(fact),
            on_ring=lambda ring: self.rings.append(ring.key),
            on_ring_end=self.rings_ended.append,
            on_missed=lambda triggers, *why: self.missed.extend((t, *why) for t in triggers),
            counted=counted,
            pace=pace,
        )
        self._judging = True
        self._judge: threading.Thread | None = None

    def start(self, *, judge: bool = True) -> Rig:
        self.capture.start()
        if judge:
            self._judge = threading.Thread(target=self._run, daemon=True)
            self._judge.start()
        return self

    def _run(self) -> None:
        while self._judging:
            self.capture.wait(0.05)
            for frame in self.capture.take(8):
                self.notes.append(self.look(frame))
                # Without its ring: whoever keeps a frame keeps the ring's memory.
                self.frames.append(replace(frame, ring=None))
                self.capture.release(frame, "judged")

    def status(self, name: str = "a") -> CameraStatus:
        return self.capture.status()[name]

    def until(self, holds: Callable[[], object], what: str, limit_s: float = LONG_S) -> None:
        """Wait for a fact; says what is there instead if it never comes."""
        deadline = time.monotonic() + limit_s
        while not holds():
            if time.monotonic() > deadline:
                pytest.fail(f"waited {limit_s} s for {what}; {self.capture.status()}")
            time.sleep(0.01)

    def until_state(self, state: str, name: str = "a", cause: str | None = None) -> CameraStatus:
        def holds() -> bool:
            status = self.status(name)
            return status.state == state and (cause is None or status.cause == cause)

        self.until(holds, f"{name} to be {state} ({cause})")
        return self.status(name)

    def until_frames(self, count: int, name: str = "a") -> None:
        self.until(
            lambda: sum(frame.camera == name for frame in list(self.frames)) >= count,
            f"{count} frames of {name}",
        )

    def good(self, name: str = "a") -> list[Frame]:
        return [f for f in list(self.frames) if f.camera == name and f.damage is None]

    def pid(self, name: str = "a") -> int:
        """Of the camera's worker; waits for one, as there is none between two."""

        def holds() -> int | None:
            process = self.capture._links[name].process
            return process.pid if process is not None else None

        self.until(holds, f"a worker of {name}")
        found = holds()
        assert found is not None, "it has just come"
        return found

    def check_books(self) -> None:
        """The audit of every camera."""
        for status in self.capture.status().values():
            counters = status.counters
            assert counters.in_flight >= 0
            assert (
                counters.frames_in
                == counters.judged + sum(counters.dropped.values()) + counters.in_flight
            )

    def close(self) -> None:
        self._judging = False
        if self._judge is not None:
            self._judge.join()
        self.capture.close()


@pytest.fixture
def rig() -> Iterator[Callable[..., Rig]]:
    """Makes capture stages: `rig({"a": {"source": {...}}}).start()`."""
    rigs: list[Rig] = []

    def make(*args, **kwargs) -> Rig:
        rigs.append(Rig(*args, **kwargs))
        return rigs[-1]

    yield make
    for one in rigs:
        one.close()
        one.check_books()
        assert all(s.counters.in_flight == 0 for s in one.capture.status().values())
        assert sorted(one.rings) == sorted(one.rings_ended)


@pytest.fixture(scope="session")
def scene() -> np.ndarray:
    """A textured picture of 320x256 pixels with room for a number at its top."""
    from inspector.capture.sources.pattern import paint_belt

    return np.ascontiguousarray(paint_belt(256, 640, 3)[:, :320])


def causes(rig: Rig, name: str = "a") -> Counter:
    return Counter(s.cause for s in rig.changes if s.name == name and s.cause)
