"""TensorRT on an NVIDIA GPU, from a plan that was compiled before.

Runs in a process of its own (`inspector.engine.process`), since a lost GPU takes its process along.
One thread owns the GPU's context and makes every call to CUDA and TensorRT; those who submit only
put tiles into page-locked memory. Two lanes, each with stream, execution context and buffers of its
own: while one batch is computed, the next is copied in and the last is copied out.
"""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from inspector.engine.mapped import MappedRings
from inspector.engine.nvidia.ports import Port
from inspector.engine.plans.files import read_plan
from inspector.errors import EngineError, EngineLostError
from inspector.verdict import EngineInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from inspector.engine.manifest import Manifest, Precision
    from inspector.engine.nvidia.device import Device, Lane
    from inspector.engine.runtime import TileRef
    from inspector.slots import Ring

LANES = 2
PRECISIONS: tuple[Precision, ...] = ("int8", "fp16", "fp32")
"""What TensorRT compiles from the engine's files, the fastest as a rule first."""
_LOOK_EVERY_S = 0.0002
"""While a lane is free, this often it is looked whether the other has its answer."""


def batch_sizes(max_batch: int) -> tuple[int, ...]:
    """The batch sizes that the network is run on: powers of two, and the largest.

    All of them are warmed; a batch between two sizes is run on the larger.

    >>> batch_sizes(12)
    (1, 2, 4, 8, 12)
    """
    powers = [1 << power for power in range(max_batch.bit_length())]
    return (*(size for size in powers if size < max_batch), max_batch)


@dataclass(frozen=True, slots=True)
class _Batch:
    lane: Lane
    count: int
    size: int
    answer: Future[NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class _Errand:
    """Something to do with the GPU while nothing else is on it."""

    run: Callable[[Device], None]


class TensorRtRuntime:
    """An engine on a GPU; follows `Runtime`. Any thread.

    `submit` copies the tiles before it returns, and blocks while both lanes are busy. After a
    fault that breaks the GPU's context, all that is in flight and all that comes fails with
    `EngineLostError`, at once: the process has to be replaced.

    Args:
        plan: file of the plan; loading it runs its code.
        plan_sha256: its digest; another file is not loaded.
        max_batch: most tiles of one `submit`, and what the plan must take.
        device: number of the GPU.

    Raises:
        EngineError: the plan is missing or another one, TensorRT or the GPU cannot be had, or
            memory is short: the call that failed and why.
    """

    def __init__(
        self,
        manifest: Manifest,
        precision: Precision,
        *,
        plan: Path,
        plan_sha256: str,
        max_batch: int,
        device: int = 0,
    ) -> None:
        if precision not in PRECISIONS:
            msg = (
                f"engine {manifest.name}: tensorrt has no {precision}; it has "
                f"{', '.join(PRECISIONS)}"
            )
            raise EngineError(msg)
        self._info = EngineInfo(
            name=manifest.name,
            version=manifest.version,
            sha256=manifest.file_of(precision).sha256,
            runtime="tensorrt",
            precision=precision,
        )
        self._max_batch = max_batch
        self._sizes = batch_sizes(max_batch)
        self._rings = MappedRings(self._name(), max_batch)
        self._lost: str | None = None
        self._closed = threading.Event()
        self._free: SimpleQueue[Lane | None] = SimpleQueue()
        self._orders: SimpleQueue[_Batch | _Errand | None] = SimpleQueue()
        content = read_plan(plan, plan_sha256)
        opened: Future[None] = Future()
        self._owner = threading.Thread(
            target=self._own,
            args=(manifest, content, device, opened),
            name=f"tensorrt-{manifest.name}",
            daemon=True,  # a GPU that hangs must not hold the process when it is to end
        )
        self._owner.start()
        try:
            opened.result()
        except EngineError as error:
            self._owner.join()
            msg = f"{self._name()} cannot be opened: {error}{_remedy(error)}"
            raise EngineError(msg) from error

    def _name(self) -> str:
        return f"engine {self._info.name} on tensorrt ({self._info.precision})"

    @property
    def info(self) -> EngineInfo:
        """Which engine, runtime and precision serve now."""
        return self._info

    @property
    def max_batch(self) -> int:
        """Most tiles that one `submit` takes."""
        return self._max_batch

    @property
    def sizes(self) -> tuple[int, ...]:
        """The batch sizes that the network is run on."""
        return self._sizes

    def map_ring(self, ring: Ring) -> None:
        """Make a ring's slots readable by this runtime."""
        self._rings.add(ring)

    def unmap_ring(self, key: str) -> None:
        """Forget a ring; batches in flight have their tiles already."""
        self._rings.remove(key)

    def submit(self, tiles: Sequence[TileRef]) -> Future[NDArray[np.float32]]:
        """Judge tiles; follows `Runtime.submit`. Blocks while both lanes are busy.

        Raises:
            ValueError: more than `max_batch` tiles, none, or a ring that was not mapped.
        """
        self._rings.check_count(tiles)
        answer: Future[NDArray[np.float32]] = Future()
        answer.set_running_or_notify_cancel()
        if self._closed.is_set():
            answer.set_exception(EngineError(f"{self._name()}: it is closed"))
            return answer
        self._rings.check_rings(tiles)
        lane = self._free.get()
        if lane is None:
            self._free.put(None)
            answer.set_exception(EngineError(f"{self._name()}: it is closed"))
            return answer
        try:
            self._rings.cut(tiles, lane.tiles)
        except BaseException:
            self._free.put(lane)
            raise
        size = next(size for size in self._sizes if size >= len(tiles))
        self._orders.put(_Batch(lane, len(tiles), size, answer))
        return answer

    def run_alone(self, run: Callable[[Device], None]) -> None:
        """Have the owning thread run something on the GPU, with no batch on it; for measurements.

        Raises:
            EngineError: it failed.
        """
        done: Future[None] = Future()

        def errand(device: Device) -> None:
            try:
                run(device)
            except BaseException as error:  # noqa: BLE001 - told to the caller
                done.set_exception(error)
            else:
                done.set_result(None)

        lanes = [self._free.get() for _ in range(LANES)]
        try:
            self._orders.put(_Errand(errand))
            done.result()
        finally:
            for lane in lanes:
                self._free.put(lane)

    def close(self) -> None:
        """Finish what is in flight and give the GPU back. Idempotent.

        Waits for the GPU: one that hangs is ended with its process.
        """
        if self._closed.is_set():
            return
        self._closed.set()
        for _ in range(LANES):
            self._free.get()
        self._free.put(None)
        self._orders.put(None)
        self._owner.join()
        self._rings.clear()

    # --- the owning thread ------------------------------------------------------------------------

    def _own(self, manifest: Manifest, plan: bytes, number: int, opened: Future[None]) -> None:
        device: Device | None = None
        fault: EngineError | None = None
        try:
            device = _device(number)
            device.load(plan, *_ports(manifest), sizes=self._sizes, lanes=LANES)
            for lane in device.lanes:
                self._free.put(lane)
        except EngineError as error:
            # Anew, without its traceback: that holds what must go before the context does.
            fault = EngineError(str(error))
        except Exception as error:  # noqa: BLE001 - a fault of ours: nobody waits for ever
            fault = EngineError(f"{type(error).__name__}: {error}")
        if fault is None and device is not None:
            opened.set_result(None)
            self._serve(device)
        if device is not None:
            device.close()
        if fault is not None:
            opened.set_exception(fault)

    def _serve(self, device: Device) -> None:
        flying: deque[_Batch] = deque()
        while True:
            try:
                order = self._next_order(flying)
            except Empty:
                order = _NOTHING_NEW
            if order is None:
                return
            try:
                if isinstance(order, _Batch):
                    flying.append(order)
                    self._launch(order, device, flying)
                elif order is not _NOTHING_NEW:
                    order.run(device)
                self._land(device, flying)
            except Exception as error:  # noqa: BLE001 - a fault of ours: no batch waits for ever
                self._break(f"{type(error).__name__}: {error}", flying)

    def _next_order(self, flying: deque[_Batch]) -> _Batch | _Errand | None:
        """The next order, waiting as long as it is no use to look at the GPU.

        Raises:
            Empty: it is time to look.
        """
        if len(flying) == LANES:
            raise Empty  # nothing can come before a lane is free
        return self._orders.get(timeout=_LOOK_EVERY_S if flying else None)

    def _launch(self, batch: _Batch, device: Device, flying: deque[_Batch]) -> None:
        if self._lost is not None:
            self._break(self._lost, flying)
            return
        try:
            batch.lane.launch(batch.count, batch.size)
        except EngineError as error:
            self._fault(error, batch, device, flying)

    def _land(self, device: Device, flying: deque[_Batch]) -> None:
        """Take the answers that have come; where both lanes are busy, wait for the first."""
        wait = len(flying) == LANES
        for batch in list(flying):
            if batch not in flying:
                continue  # lost together with another one
            try:
                if wait:
                    batch.lane.wait()
                    wait = False
                elif not batch.lane.done():
                    continue
                rows = batch.lane.rows(batch.count)
            except EngineError as error:
                self._fault(error, batch, device, flying)
                continue
            flying.remove(batch)
            self._free.put(batch.lane)
            batch.answer.set_result(rows)

    def _fault(
        self, error: EngineError, batch: _Batch, device: Device, flying: deque[_Batch]
    ) -> None:
        """One batch has failed: it alone, or the whole context with it."""
        try:
            device.settle()
        except EngineError as broken:
            self._break(f"{self._name()}: the GPU is lost: {error}; then {broken}", flying)
        else:
            flying.remove(batch)
            msg = f"{self._name()} failed on a batch of {batch.count} tiles: {error}"
            self._fail(batch, EngineError(f"{msg}{_remedy(error)}"))

    def _break(self, why: str, flying: deque[_Batch]) -> None:
        """Nothing will be judged any more."""
        self._lost = why
        while flying:
            self._fail(flying.popleft(), EngineLostError(why))

    def _fail(self, batch: _Batch, error: EngineError) -> None:
        self._free.put(batch.lane)
        batch.answer.set_exception(error)


_NOTHING_NEW = _Errand(lambda _: None)


def _device(number: int) -> Device:
    try:
        from inspector.engine.nvidia.device import Device
    except ImportError as error:
        msg = f"TensorRT and PyCUDA cannot be loaded ({error}); install inspector[tensorrt]"
        raise EngineError(msg) from error
    return Device(number)


def _ports(manifest: Manifest) -> tuple[Port, Port]:
    image = Port(manifest.input.name, (manifest.input.height, manifest.input.width, 3))
    return image, Port(manifest.output.name, (len(manifest.classes),))


def _remedy(error: EngineError) -> str:
    short = "out of memory" in str(error).lower().replace("_", " ")
    return "; end what else uses the GPU, or lower engine.max_batch" if short else ""
