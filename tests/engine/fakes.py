"""A runtime and a feed with behaviour: they do what the real ones promise, on the test's command.

Pictures are flat: the blue value of a pixel is the column of the label that the fake runtime
answers, the green value how sure it is, in percent; the rest goes to the good label. It reads the
pixels as late as a runtime may, at the answer; and the feed overwrites a slot as soon as its frame
has a verdict. So a slot that is handed back too early gives a wrong label.
"""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future
from dataclasses import replace

import numpy as np

from inspector.engine.golden import Parity
from inspector.engine.load import Engine
from inspector.engine.manifest import Manifest, read_manifest
from inspector.errors import EngineError
from inspector.frame import Frame
from inspector.slots import Ring
from inspector.verdict import EngineInfo

WAIT_S = 20
SIDE = 64
GARBAGE = 255
_GOOD = 6  # column of `refimgs` among the eight labels


class FakeRuntime:
    """Follows `Runtime`; answers by itself, or while `held` only what `answer` is called for."""

    def __init__(self, name, *, classes=8, max_batch=4, held=False):
        self.info = EngineInfo(name, "1", "0" * 64, "fake", "fp32")
        self.max_batch = max_batch
        self.submitted = []  # numbers of tiles of each batch
        self.faults = deque()  # what the next batches do: exceptions or functions of the rows
        self._classes = classes
        self._held = held
        self._rings = {}
        self._waiting = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def map_ring(self, ring):
        self._rings[ring.key] = ring

    def unmap_ring(self, key):
        self._rings.pop(key, None)

    def submit(self, tiles):
        if not 1 <= len(tiles) <= self.max_batch:
            raise ValueError(f"takes 1 to {self.max_batch} tiles, came {len(tiles)}")
        for ref in tiles:
            if ref.ring not in self._rings:
                raise ValueError(f"ring {ref.ring} was not mapped")
        future = Future()
        with self._changed:
            if self._closed:
                future.set_exception(EngineError("it is closed"))
                return future
            self.submitted.append(len(tiles))
            self._waiting.append((list(tiles), future))
            self._changed.notify_all()
        return future

    def hold(self):
        with self._changed:
            self._held = True

    def let_go(self):
        with self._changed:
            self._held = False
            self._changed.notify_all()

    def wait_submitted(self, batches):
        """Wait until so many batches came in."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.submitted) >= batches, WAIT_S)

    def answer(self):
        """Answer the oldest batch, from the test's own thread."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._waiting, WAIT_S)
            tiles, future = self._waiting.popleft()
        self._answer(tiles, future)

    def close(self):
        with self._changed:
            self._closed = True
            self._held = False
            self._changed.notify_all()
        self._thread.join(WAIT_S)

    def _work(self):
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or (self._waiting and not self._held))
                if not self._waiting:
                    return
                tiles, future = self._waiting.popleft()
            self._answer(tiles, future)

    def _answer(self, tiles, future):
        fault = self.faults.popleft() if self.faults else None
        if isinstance(fault, Exception):
            future.set_exception(fault)
            return
        try:
            rows = np.stack([self._row(ref) for ref in tiles])
        except KeyError as error:  # unmapped meanwhile
            future.set_exception(EngineError(f"ring {error} has gone"))
            return
        future.set_result(rows if fault is None else fault(rows))

    def _row(self, ref):
        picture = self._rings[ref.ring].picture(ref.slot, ref.height, ref.width)
        label, percent, _ = (int(v) for v in picture[ref.tile.y, ref.tile.x])
        row = np.zeros(self._classes, np.float32)
        if label == GARBAGE:
            return row  # every label 0: no verdict is like that
        if label == _GOOD:
            row[:] = (1 - percent / 100) / (self._classes - 1)
        else:
            row[_GOOD] = 1 - percent / 100
        row[label] = percent / 100
        return row


def engine_of(home, runtime, **sampling):
    """An `Engine` on a fake runtime, with the manifest in `home`."""
    manifest = read_manifest(home)
    if sampling:
        document = manifest.model_dump()
        document["sampling"] |= sampling
        manifest = Manifest.model_validate(document)
    parity = Parity("fp32", 1, 0.0, 0.01, "-", "-", 0.0, 0.0, ())
    return Engine(manifest, runtime, manifest.verdict_thresholds(), parity)


class FakeFeed:
    """`FrameFeed` of several cameras: of a live one only the newest waits, files wait in line."""

    def __init__(self, classes, slots=6, side=SIDE):
        self.verdicts = []
        self.superseded = []
        self.taken = []
        self._classes = classes
        self._slots = slots
        self._side = side
        self._rings = {}
        self._free = {}
        self._ready = {}
        self._next = {}
        self._changed = threading.Condition()

    def ring(self, camera):
        if camera not in self._rings:
            ring = Ring.create(f"{camera}/1", slots=self._slots, max_pixels=self._side**2)
            self._rings[camera] = ring
            self._free[camera] = deque(range(self._slots))
            self._ready[camera] = deque()
        return self._rings[camera]

    def put(self, camera, label, percent=95, *, fifo=False, side=None, damage=None, triggers=()):
        """A frame arrives; its sequence number, or None if no slot is free."""
        ring = self.ring(camera)
        with self._changed:
            sequence = self._next.get(camera, 0)
            self._next[camera] = sequence + 1
            frame = Frame(
                camera, 1, sequence, 0, 0, 0, 0, 0, fifo=fifo, damage=damage, triggers=triggers
            )
            if damage is None:
                if not self._free[camera]:
                    return None
                side = side or self._side
                slot = self._free[camera].popleft()
                self.paint(ring.picture(slot, side, side), label, percent)
                frame = replace(frame, ring=ring, slot=slot, height=side, width=side)
            ready = self._ready[camera]
            if not fifo:
                while ready and ready[-1].damage is None:
                    old = ready.pop()
                    self.superseded.append((camera, old.sequence))
                    self._give_back(old)
            ready.append(frame)
            self._changed.notify_all()
            return sequence

    def paint(self, picture, label, percent):
        """What the fake runtime takes for that label."""
        picture[:] = (self._classes.index(label), percent, 0)

    def wait(self, timeout_s):
        with self._changed:
            return self._changed.wait_for(lambda: any(self._ready.values()), timeout_s)

    def take(self, most):
        with self._changed:
            frames = []
            while len(frames) < most and any(self._ready.values()):
                for ready in self._ready.values():
                    if ready and len(frames) < most:
                        frames.append(ready.popleft())
            self.taken += [(f.camera, f.sequence) for f in frames]
            self._changed.notify_all()
            return frames

    def on_verdict(self, frame, verdict):
        with self._changed:
            self.verdicts.append((frame, verdict))
            self._give_back(frame)
            self._changed.notify_all()

    def _give_back(self, frame):
        if frame.slot >= 0:
            frame.picture()[:] = GARBAGE
            self._free[frame.camera].append(frame.slot)

    def wait_verdicts(self, count):
        """Wait until so many verdicts came; they, in order."""
        with self._changed:
            came = self._changed.wait_for(lambda: len(self.verdicts) >= count, WAIT_S)
            assert came, f"{len(self.verdicts)} of {count} verdicts came"
            return list(self.verdicts)

    def wait_taken(self, count):
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.taken) >= count, WAIT_S)

    def close(self):
        for ring in self._rings.values():
            ring.close()
