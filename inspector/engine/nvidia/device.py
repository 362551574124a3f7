"""A GPU with a loaded plan, as the one thread that owns it sees it.

This module imports TensorRT and PyCUDA. Everything in it is made, called and closed by one thread,
but for `Lane.tiles`, which any thread may fill while nothing of the lane is in flight.
"""

from __future__ import annotations

import contextlib
from collections import deque
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pycuda.driver as cuda
import tensorrt as trt

from inspector.engine.nvidia.ports import Shares
from inspector.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from inspector.engine.nvidia.ports import Port

Number = TypeVar("Number", bound=np.generic)

_PROFILE = 0
"""A plan of ours has one optimisation profile."""
_WARM_ROUNDS = 2
"""The first round of a batch size loads its kernels, the second finds them."""
_LOG_LINES = 4


class Log(trt.ILogger):  # type: ignore[misc, unused-ignore] # typed only where the stubs are
    """What TensorRT says: its last errors, since its calls tell no more than that they failed."""

    def __init__(self) -> None:
        trt.ILogger.__init__(self)
        self._errors: deque[str] = deque(maxlen=_LOG_LINES)

    def log(self, severity: trt.ILogger.Severity, msg: str) -> None:
        """Called by TensorRT, in any of its threads; must not raise."""
        if severity in {trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR}:
            self._errors.append(msg.strip())

    def take(self) -> str:
        """The last errors, which are forgotten then."""
        said = "; ".join(self._errors)
        self._errors.clear()
        return said or "it does not say why"


class Device:
    """One GPU, its context, the plan on it, and lanes that run it side by side.

    Made without a plan; `load` follows, and `close` in any case, so that what an exception holds on
    to is gone before the context is.

    Args:
        number: of the GPU.

    Raises:
        EngineError: a call of CUDA failed, which one and why.
    """

    def __init__(self, number: int) -> None:
        self.lanes: list[Lane] = []
        self._log = Log()
        self._runtime: trt.Runtime | None = None
        self._engine: trt.ICudaEngine | None = None
        with naming():
            cuda.init()
            # The primary context is the one that the CUDA runtime inside TensorRT uses, too.
            self._context = cuda.Device(number).retain_primary_context()
        try:
            with naming():
                self._context.push()
        except EngineError:
            with contextlib.suppress(EngineError), naming():
                self._context.detach()
            raise

    def load(
        self,
        plan: bytes,
        image: Port,
        probabilities: Port,
        *,
        sizes: Sequence[int],
        lanes: int,
    ) -> None:
        """Load the plan, make the lanes, and run every batch size on each of them.

        Args:
            plan: what TensorRT compiled; must be trusted, since loading it runs its code.
            sizes: the batch sizes that are met, ascending; the largest is what the plan must take.
            lanes: how many batches may be on the way at once.

        Raises:
            EngineError: a call of CUDA or TensorRT failed, which one and why; or the plan is of
                another network.
        """
        with naming("Runtime"):
            self._runtime = trt.Runtime(self._log)
        with naming("deserialize_cuda_engine"):
            self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            msg = f"deserialize_cuda_engine failed: {self._log.take()}"
            raise EngineError(msg)
        _check_ports(self._engine, image, probabilities, sizes[-1])
        for _ in range(lanes):
            with naming("create_execution_context"):
                context = self._engine.create_execution_context()
            if context is None:
                msg = f"create_execution_context failed: {self._log.take()}"
                raise EngineError(msg)
            lane = Lane(context, self._log, image)
            self.lanes.append(lane)
            lane.allocate(probabilities, sizes[-1])
            lane.warm(sizes)

    def settle(self) -> None:
        """Wait for all that is on the way.

        Raises:
            EngineError: the context is broken for good: nothing will run on it any more.
        """
        with naming():
            cuda.Context.synchronize()

    def close(self) -> None:
        """Give everything back, in the order in which it depends on one another. Idempotent.

        Of a broken context nothing can be given back; that is the end of its process.
        """
        if self._context is None:
            return
        with contextlib.suppress(EngineError):
            self.settle()
        while self.lanes:
            self.lanes.pop().close()
        self._engine = None
        self._runtime = None
        with contextlib.suppress(EngineError), naming():
            cuda.Context.pop()
        with contextlib.suppress(EngineError), naming():
            self._context.detach()
        self._context = None


class Lane:
    """A stream with an execution context and buffers of its own: one batch at a time.

    Attributes:
        tiles: (largest batch, height, width, 3) uint8, page-locked: where the next batch is put.
    """

    def __init__(self, context: trt.IExecutionContext, log: Log, image: Port) -> None:
        self._context: trt.IExecutionContext | None = context
        self._log = log
        self._image = image
        self._stream: cuda.Stream | None = None
        self._end: cuda.Event | None = None
        self._device: list[cuda.DeviceAllocation] = []
        self._host: list[NDArray[Any]] = []
        self._marks: list[cuda.Event] = []

    def allocate(self, probabilities: Port, most: int) -> None:
        """Take the memory for `most` tiles and tell the execution context where it is.

        Raises:
            EngineError: memory is short, or another call failed.
        """
        flags = cuda.event_flags.BLOCKING_SYNC | cuda.event_flags.DISABLE_TIMING
        with naming():
            self._stream = cuda.Stream()
            self._end = cuda.Event(flags)
            self.tiles = self._page_locked((most, *self._image.row), np.uint8)
            self._rows = self._page_locked((most, *probabilities.row), np.float32)
            self._tiles_there = self._on_device(self.tiles.nbytes)
            self._rows_there = self._on_device(self._rows.nbytes)
            self._tell(probabilities)
            self._stream.synchronize()

    def _tell(self, probabilities: Port) -> None:
        assert self._context is not None  # noqa: S101 - not closed
        assert self._stream is not None  # noqa: S101
        self._say(
            "set_optimization_profile_async",
            self._context.set_optimization_profile_async(_PROFILE, self._stream.handle),
        )
        for name, memory in (
            (self._image.name, self._tiles_there),
            (probabilities.name, self._rows_there),
        ):
            self._say("set_tensor_address", self._context.set_tensor_address(name, int(memory)))

    def _page_locked(self, shape: tuple[int, ...], kind: type[Number]) -> NDArray[Number]:
        array: NDArray[Number] = cuda.pagelocked_empty(shape, kind)
        self._host.append(array)
        array.fill(0)
        return array

    def _on_device(self, size: int) -> cuda.DeviceAllocation:
        memory = cuda.mem_alloc(size)
        self._device.append(memory)
        return memory

    def _say(self, call: str, done: bool) -> None:
        if not done:
            msg = f"{call} failed: {self._log.take()}"
            raise EngineError(msg)

    def warm(self, sizes: Sequence[int]) -> None:
        """Run every batch size, so that none is met for the first time later."""
        for size in [size for size in sizes for _ in range(_WARM_ROUNDS)]:
            self.launch(size, size)
            self.wait()

    def launch(self, count: int, size: int) -> None:
        """Send the first `count` tiles, have them judged, and their rows sent back.

        Args:
            size: how many the network is run on; what lies behind `count` is older tiles.

        Raises:
            EngineError: which call failed, and why. Parts may be on the way: `Device.settle`.
        """
        assert self._context is not None  # noqa: S101 - not closed
        assert self._stream is not None  # noqa: S101
        assert self._end is not None  # noqa: S101
        with naming():
            self._mark(0)
            cuda.memcpy_htod_async(self._tiles_there, self.tiles[:count], self._stream)
            self._mark(1)
            shape = (size, *self._image.row)
            self._say("set_input_shape", self._context.set_input_shape(self._image.name, shape))
            self._say("execute_async_v3", self._context.execute_async_v3(self._stream.handle))
            self._mark(2)
            cuda.memcpy_dtoh_async(self._rows[:count], self._rows_there, self._stream)
            self._mark(3)
            self._end.record(self._stream)

    def _mark(self, which: int) -> None:
        if self._marks:
            self._marks[which].record(self._stream)

    def done(self) -> bool:
        """Whether what was launched has come back. Raises EngineError where it failed."""
        assert self._end is not None  # noqa: S101 - not closed
        with naming():
            return bool(self._end.query())

    def wait(self) -> None:
        """Wait for it, without the interpreter lock. Raises EngineError where it failed."""
        assert self._end is not None  # noqa: S101 - not closed
        with naming():
            self._end.synchronize()

    def rows(self, count: int) -> NDArray[np.float32]:
        """(count, classes) float32: a copy of what came back."""
        return self._rows[:count].copy()

    def timed(self, count: int, size: int) -> Shares:
        """Run one batch by itself and tell where its time on the GPU went; for measurements.

        Raises:
            EngineError: which call failed, and why.
        """
        with naming():
            self._marks = [cuda.Event(cuda.event_flags.BLOCKING_SYNC) for _ in range(4)]
        try:
            self.launch(count, size)
            self.wait()
            with naming():
                spans = [end.time_since(start) / 1e3 for start, end in pairwise(self._marks)]
            return Shares(*spans)
        finally:
            self._marks = []

    def close(self) -> None:
        """Give the buffers back; nothing of the lane may be on the way. Idempotent."""
        self._context = None
        while self._device:
            with contextlib.suppress(EngineError), naming():
                self._device.pop().free()
        while self._host:
            with contextlib.suppress(EngineError), naming():
                self._host.pop().base.free()  # type: ignore[union-attr]
        self.tiles = self._rows = np.empty(0)  # type: ignore[assignment] # their memory is gone
        self._end = None
        self._stream = None


def _check_ports(engine: trt.ICudaEngine, image: Port, probabilities: Port, most: int) -> None:
    """Hold the plan against the manifest: a plan of another network must not serve.

    Raises:
        EngineError: what is in the plan, and what was expected.
    """
    found = {
        (name, str(engine.get_tensor_mode(name)), str(engine.get_tensor_dtype(name)))
        for name in map(engine.get_tensor_name, range(engine.num_io_tensors))
    }
    wanted = {
        (image.name, str(trt.TensorIOMode.INPUT), str(trt.uint8)),
        (probabilities.name, str(trt.TensorIOMode.OUTPUT), str(trt.float32)),
    }
    if found != wanted:
        msg = f"the plan has {_words(found)}, expected {_words(wanted)}"
        raise EngineError(msg)
    least, _, largest = map(_shape, engine.get_tensor_profile_shape(image.name, _PROFILE))
    if least != (1, *image.row) or largest[1:] != image.row or largest[0] < most:
        msg = (
            f"the plan takes tiles from {least} to {largest}, "
            f"expected {(1, *image.row)} to {(most, *image.row)}"
        )
        raise EngineError(msg)
    columns = _shape(engine.get_tensor_shape(probabilities.name))[1:]
    if columns != probabilities.row:
        msg = f"the plan gives rows of {columns}, expected {probabilities.row}"
        raise EngineError(msg)


def _shape(dims: trt.Dims) -> tuple[int, ...]:
    return tuple(dims[axis] for axis in range(len(dims)))


def _words(ports: set[tuple[str, str, str]]) -> str:
    return ", ".join(" ".join(port) for port in sorted(ports))


@contextlib.contextmanager
def naming(call: str = "a call of TensorRT") -> Iterator[None]:
    """Turn an error of CUDA into ours: PyCUDA's text names call and reason, TensorRT's does not."""
    try:
        yield
    except cuda.Error as error:
        raise EngineError(str(error)) from error
    except (TypeError, RuntimeError, MemoryError) as error:
        # What the bindings of TensorRT raise where the library gave nothing.
        msg = f"{call} failed: {error}"
        raise EngineError(msg) from error
