"""Frames with pictures, and evidence with its outbox played by a dictionary."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np

from inspector.config.evidence import Evidence as Settings
from inspector.evidence.naming import Name
from inspector.evidence.store import Evidence, Kept, Kind, Skipped
from inspector.frame import Frame
from inspector.slots import Ring

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Future
    from pathlib import Path

    from inspector.evidence.store import Outcome

NOW_MS = 1_700_000_000_000
DAY_MS = 86_400_000


def id_at(utc_ms: int, number: int = 0) -> str:
    """An event's id of that time; those of one time rise with their number."""
    return str(UUID(int=utc_ms << 80 | 7 << 76 | 0b10 << 62 | number))


def name_at(utc_ms: int, number: int = 0, camera: str = "infeed", suffix: str = "jpg") -> Name:
    return Name(camera, id_at(utc_ms, number), suffix)


def wait_until(truth: Callable[[], Any], within_s: float = 60.0) -> Any:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if got := truth():
            return got
        time.sleep(0.005)
    msg = f"not within {within_s} s"
    raise AssertionError(msg)


class Loans:
    """Makes frames of real slots, and counts how often each comes back."""

    def __init__(self, height: int = 96, width: int = 128) -> None:
        self.size = height, width
        self.ring = Ring.create("infeed/1", slots=8, max_pixels=height * width)
        rng = np.random.default_rng(1)
        for slot in range(8):
            self.ring.picture(slot, height, width)[:] = rng.integers(0, 256, (height, width, 3))
        self.back: list[int] = []
        self.all_back = threading.Condition()

    def frame(self, sequence: int = 0, camera: str = "infeed") -> Frame:
        now = time.monotonic_ns()
        return Frame(
            camera, 1, sequence, *self.size, now, time.time_ns(), now, None, self.ring, sequence % 8
        )

    def release(self, sequence: int) -> Callable[[], None]:
        def back() -> None:
            with self.all_back:
                self.back.append(sequence)
                self.all_back.notify_all()

        return back


class Room:
    """Evidence on a folder; `again` is a restart."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        # A busy machine is no slow disk: only who asks for it finds a picture late.
        self.settings = Settings(**{"min_free_mb": 0, "within_ms": 60_000, **settings})
        self.loans = Loans()
        self.stored: dict[str, Mapping[str, Any]] = {}
        self.newest_ms: int | None = None
        self.now_s, self.now_ms = 0.0, NOW_MS
        self.slots = {"infeed": 6, "outfeed": 6}
        self.number = 0
        self.evidence = self._make()

    def _make(self) -> Evidence:
        return Evidence(
            self.folder,
            self.settings,
            slots=self.slots,
            stored=lambda ids: {i: self.stored[i] for i in ids if i in self.stored},
            newest_id=lambda: None if self.newest_ms is None else id_at(self.newest_ms),
            clock=lambda: self.now_s,
            utc_ms=lambda: self.now_ms,
        )

    def open(self) -> Room:
        self.evidence.start()
        wait_until(lambda: self.evidence._keeper.open)
        return self

    def again(self) -> Room:
        self.evidence.close(5)
        self.evidence = self._make()
        return self.open()

    def keep(
        self, camera: str = "infeed", *kinds: Kind, at_ms: int | None = None
    ) -> Future[Outcome]:
        """Ask for one picture more, named by the next id of that time (now)."""
        self.number += 1
        return self.evidence.keep(
            self.loans.frame(self.number, camera),
            id_at(self.now_ms if at_ms is None else at_ms, self.number),
            kinds or (Kind.REJECTED,),
            self.loans.release(self.number),
        )

    def kept(self, camera: str = "infeed", *kinds: Kind, at_ms: int | None = None) -> Kept:
        """One picture more, with its event beside it."""
        outcome = self.keep(camera, *kinds, at_ms=at_ms).result(60)
        assert isinstance(outcome, Kept), outcome
        self.evidence.seal(outcome, {"id": outcome.name.event_id})
        note = self.folder / outcome.name.note.uri
        wait_until(note.exists)
        return outcome

    def cause(self, camera: str = "infeed", *kinds: Kind) -> str:
        outcome = self.keep(camera, *kinds).result(60)
        assert isinstance(outcome, Skipped), outcome
        return outcome.cause.value

    def files(self) -> list[str]:
        """What lies below the folder, but for its marker."""
        found = (p.relative_to(self.folder) for p in self.folder.rglob("*") if p.is_file())
        return sorted(str(path) for path in found if path.name != "evidence.lock")
