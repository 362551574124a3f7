"""A GPU with behaviour: memory of its own, and streams whose work is done when they get there.

Work that was put into a stream has no effect until the machine, in an order that the test decides,
comes to it: streams advance in turn as the schedule says, at every call and whenever the host
waits. A copy or an inference has a beginning and an end, so that two streams can be in the middle
of something at once. What a real GPU would let pass, and give wrong answers for, is an error here:

- a host buffer that is written while it is copied from, or a result looked at before it has come
  (until then it is full of NaN);
- device memory that is read before anything was written, past its end, or overwritten while an
  inference reads it;
- the context, or an execution context, used by another thread than its owner's;
- anything that is not given back, or is given back while it is in use or after its context.

What is wrong is in `faults`, and whatever comes after it fails.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

POISON = 0xFF
"""Of this byte a float is NaN."""
_GUARD = 1 << 20
"""Between two allocations, so that an address past the end of one is in no other."""
_OFTEN = 10_000


@dataclass
class Failure:
    """One call of the run that goes wrong.

    Attributes:
        call: its number, from 0.
        kind: `refused`: this call alone; `memory`: too, since memory is short; `lost`: the GPU is
            broken from then on.
    """

    call: int
    kind: str


class RefusedError(Exception):
    """A call that fails; the faces turn it into the exception or the result of their library."""

    def __init__(self, name: str, reason: str, kind: str) -> None:
        super().__init__(f"{name} failed: {reason}")
        self.reason = reason
        self.kind = kind


REASONS = {
    "refused": "invalid argument",
    "memory": "out of memory",
    "lost": "an illegal memory access was encountered",
}


@dataclass(eq=False)
class Work:
    """Something in a stream. `begin` may be None; `end` is what has the effect."""

    what: str
    end: Callable[[], None]
    begin: Callable[[], None] | None = None
    begun: bool = False


@dataclass(eq=False)
class Block:
    """Memory: of the device, where `written` tells which bytes hold something, or of the host."""

    address: int
    data: np.ndarray
    written: np.ndarray
    alive: bool = True


@dataclass(eq=False)
class Line:
    """What a stream has still to do."""

    work: deque[Work] = field(default_factory=deque)


class Machine:
    """The GPU. All methods may be called from any thread; the faces call them."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self.reset()

    def reset(
        self,
        *,
        schedule: Sequence[int] = (1,),
        failure: Failure | None = None,
        lost_at_work: int | None = None,
        memory_bytes: int = 1 << 30,
        name: str = "Simulated GPU",
    ) -> None:
        """A new GPU.

        Args:
            schedule: numbers that decide how far which stream goes; read again and again, with a
                step at the end of each round, so that it does not stand still.
            lost_at_work: the GPU breaks at this piece of work, counted from 0.
        """
        self.generation = object()  # first: what the old one still held is none of the new one's
        self.name = name
        self.memory_bytes = memory_bytes
        self.calls: list[str] = []
        self.faults: list[str] = []
        self.done_work = 0
        self.live: dict[str, int] = {}
        self.lost = False
        self.lines: list[Line] = []
        self.blocks: list[Block] = []
        self.host: list[Block] = []
        self.context_of: dict[int, int] = {}  # thread -> times the context is on its stack
        self.owner: int | None = None
        self._failure = failure
        self._lost_at_work = lost_at_work
        self._pace: Iterator[int] = itertools.cycle((*schedule, 1))  # it does not stand still
        self._choice: Iterator[int] = itertools.cycle(schedule or (0,))
        self._next_address = 0x7000_0000_0000
        self._reading: list[tuple[int, int]] = []  # address and size, by inferences under way

    # --- calls ------------------------------------------------------------------------------------

    def call(self, name: str, *, needs_context: bool = True) -> None:
        """One call of a library. Raises RefusedError where it fails."""
        with self._lock:
            number = len(self.calls)
            self.calls.append(name)
            if self._failure is not None and self._failure.call == number:
                if self._failure.kind == "lost":
                    self.lost = True
                else:
                    self._refuse(name, self._failure.kind)
            if self.lost:
                self._refuse(name, "lost")
            if needs_context:
                self.check_thread(name)
            self.run_some()

    def _refuse(self, name: str, kind: str) -> None:
        raise RefusedError(name, REASONS[kind], kind)

    def check_thread(self, name: str) -> None:
        """The caller must be the one thread that has the context."""
        me = threading.get_ident()
        if not self.context_of.get(me):
            self.wrong(f"{name} without a context in {threading.current_thread().name}")

    def wrong(self, what: str) -> None:
        """Something that a real GPU would answer with nonsense, sooner or later."""
        self.faults.append(what)
        raise RefusedError(what, "misuse", "refused")

    def count(self, kind: str, by: int) -> None:
        """So many more of something that must be given back."""
        with self._lock:
            self.live[kind] = self.live.get(kind, 0) + by

    def left(self) -> dict[str, int]:
        """What was not given back."""
        return {kind: number for kind, number in self.live.items() if number}

    # --- context ----------------------------------------------------------------------------------

    def push(self) -> None:
        with self._lock:
            me = threading.get_ident()
            if self.owner not in (None, me):
                self.wrong("the context is pushed by a second thread")
            self.owner = me
            self.context_of[me] = self.context_of.get(me, 0) + 1

    def pop(self) -> None:
        with self._lock:
            me = threading.get_ident()
            self.context_of[me] -= 1
            if not self.context_of[me]:
                self.owner = None

    def gone(self, what: str) -> None:
        """An object of the GPU is dropped: where its context is gone already, that crashes."""
        if not self.lost and not self.context_of.get(threading.get_ident()):
            self.faults.append(f"{what} outlived the context, or was dropped in another thread")

    # --- memory -----------------------------------------------------------------------------------

    def allocate(self, size: int) -> Block:
        with self._lock:
            if size + sum(b.data.nbytes for b in self.blocks) > self.memory_bytes:
                self._refuse("cuMemAlloc", "memory")
            block = Block(self._next_address, np.empty(size, np.uint8), np.zeros(size, bool))
            self._next_address += -(-size // _GUARD) * _GUARD + _GUARD
            self.blocks.append(block)
            return block

    def free(self, block: Block) -> None:
        with self._lock:
            if not block.alive:
                self.wrong("device memory is freed twice")
            if any(line.work for line in self.lines):
                self.wrong("device memory is freed while work is on the way")
            block.alive = False
            self.blocks.remove(block)

    def lock_host(self, array: np.ndarray) -> Block:
        flat = array.reshape(-1).view(np.uint8)
        block = Block(flat.ctypes.data, flat, np.ones(0, bool))
        with self._lock:
            self.host.append(block)
        return block

    def free_host(self, block: Block) -> None:
        with self._lock:
            if not block.alive:
                self.wrong("host memory is freed twice")
            if any(line.work for line in self.lines):
                self.wrong("host memory is freed while work is on the way")
            block.alive = False
            block.data[:] = POISON
            self.host.remove(block)

    def on_host(self, array: np.ndarray) -> np.ndarray:
        """The bytes of page-locked memory, as a view."""
        if not array.flags.c_contiguous:
            self.wrong("a copy of host memory that is not contiguous")
        flat = array.reshape(-1).view(np.uint8)
        start = flat.ctypes.data
        for block in self.host:
            if block.address <= start and start + flat.nbytes <= block.address + block.data.nbytes:
                return flat
        self.wrong("a copy to or from host memory that is not page-locked")
        raise AssertionError

    def at(self, address: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Bytes of device memory, and whether each was written. Past its end the GPU is lost."""
        for block in self.blocks:
            start = address - block.address
            if start >= 0 and start + size <= block.data.nbytes:
                return block.data[start : start + size], block.written[start : start + size]
        self.lost = True
        self.faults.append(f"device memory at {address:#x} is not there for {size} bytes")
        raise RefusedError("work", REASONS["lost"], "lost")

    # --- streams ----------------------------------------------------------------------------------

    def new_line(self) -> Line:
        with self._lock:
            line = Line()
            self.lines.append(line)
            return line

    def put(self, line: Line, work: Work) -> None:
        with self._lock:
            line.work.append(work)

    def run_some(self) -> None:
        """Let the GPU go on a little, as far as the schedule says."""
        with self._lock:
            for _ in range(next(self._pace)):
                self.step()

    def step(self) -> bool:
        """One step of one stream; False where there is nothing to do."""
        with self._lock:
            busy = [line for line in self.lines if line.work]
            if not busy or self.lost:
                return False
            line = busy[next(self._choice) % len(busy)]
            work = line.work[0]
            try:
                if work.begin is not None and not work.begun:
                    work.begun = True
                    work.begin()
                    return True
                if self._lost_at_work == self.done_work:
                    self.lost = True
                    return False
                self.done_work += 1
                work.end()
            except RefusedError:
                self.lost = True
                return False
            line.work.popleft()
            return True

    def run_until(self, name: str, done: Callable[[], bool]) -> None:
        """The host waits."""
        for _ in range(_OFTEN):
            with self._lock:
                if done():
                    return
                if not self.step():
                    if self.lost:
                        self._refuse(name, "lost")
                    self.wrong(f"{name} waits for what nobody does")
        self.wrong(f"{name} waits for ever")

    def idle(self) -> bool:
        """Whether all streams are at their end."""
        with self._lock:
            return not any(line.work for line in self.lines)

    # --- work -------------------------------------------------------------------------------------

    def copy_in(self, line: Line, address: int, source: np.ndarray) -> None:
        bytes_ = self.on_host(source)
        asked = bytes_.copy()

        def check() -> None:
            if not np.array_equal(bytes_, asked):
                self.wrong("a host buffer was written while it was copied from")

        def end() -> None:
            check()
            data, written = self.at(address, asked.nbytes)
            self._overwrites(address, asked.nbytes)
            data[:] = asked
            written[:] = True

        self.put(line, Work("copy in", end, check))

    def copy_out(self, line: Line, target: np.ndarray, address: int) -> None:
        bytes_ = self.on_host(target)
        bytes_[:] = POISON

        def end() -> None:
            if not (bytes_ == POISON).all():
                self.wrong("a host buffer was written while a copy to it was on the way")
            data, written = self.at(address, bytes_.nbytes)
            if not written.all():
                self.wrong("device memory was copied out before anything was written to it")
            bytes_[:] = data

        self.put(line, Work("copy out", end))

    def infer(
        self, line: Line, onnx: bytes, name: str, tiles: tuple[int, tuple[int, ...]], rows: int
    ) -> Work:
        """Run a network on tiles at an address, of a shape, to rows at another address."""
        address, shape = tiles
        size = int(np.prod(shape))
        taken: list[np.ndarray] = []

        def begin() -> None:
            data, written = self.at(address, size)
            if not written.all():
                self.wrong("an inference reads device memory that was never written")
            taken.append(data.copy())
            self._reading.append((address, size))

        def end() -> None:
            self._reading.remove((address, size))
            answer = run_network(onnx, name, taken[0].reshape(shape))
            data, written = self.at(rows, answer.nbytes)
            data[:] = answer.reshape(-1).view(np.uint8)
            written[:] = True

        work = Work("inference", end, begin)
        self.put(line, work)
        return work

    def _overwrites(self, address: int, size: int) -> None:
        for start, length in self._reading:
            if start < address + size and address < start + length:
                self.wrong("device memory was overwritten while an inference read it")


@functools.lru_cache(maxsize=16)
def _session(digest: str, onnx: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(onnx, options)


def session_of(onnx: bytes) -> onnxruntime.InferenceSession:
    """The network in an ONNX file."""
    return _session(hashlib.sha256(onnx).hexdigest(), onnx)


def run_network(onnx: bytes, name: str, tiles: np.ndarray) -> np.ndarray:
    """(N, C) float32 of (N, height, width, 3) uint8."""
    rows: Any = session_of(onnx).run(None, {name: tiles})[0]
    return np.ascontiguousarray(rows, np.float32)


machine = Machine()
"""The one GPU of this process."""
