"""What `inspector` uses of `pycuda.driver`, over the simulated GPU. Held against the real one."""

from __future__ import annotations

import contextlib
import enum
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.engine.simulated_gpu.machine import Block, RefusedError, Work, machine

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "Context",
    "Device",
    "DeviceAllocation",
    "Error",
    "Event",
    "LaunchError",
    "LogicError",
    "MemoryError",
    "PagelockedHostAllocation",
    "RuntimeError",
    "Stream",
    "event_flags",
    "get_version",
    "init",
    "mem_alloc",
    "memcpy_dtoh_async",
    "memcpy_htod_async",
    "pagelocked_empty",
]


class Error(Exception):
    """Root of PyCUDA's errors."""


class LogicError(Error):
    """A call that was wrong."""


class MemoryError(Error):  # noqa: A001 - PyCUDA's name
    """Memory is short."""


class LaunchError(Error):
    """Work failed on the GPU."""


class RuntimeError(Error):  # noqa: A001 - PyCUDA's name
    """Something else."""


_ERRORS = {"refused": LogicError, "memory": MemoryError, "lost": LaunchError}


class event_flags(enum.IntFlag):  # noqa: N801 - PyCUDA's name
    DEFAULT = 0
    BLOCKING_SYNC = 1
    DISABLE_TIMING = 2


@contextlib.contextmanager
def _failing() -> Iterator[None]:
    try:
        yield
    except RefusedError as error:
        raise _ERRORS[error.kind](str(error)) from None


def _call(name: str, *, needs_context: bool = True) -> None:
    with _failing():
        machine.call(name, needs_context=needs_context)


def get_version() -> tuple[int, int, int]:
    return 13, 0, 0


def init(flags: int = 0) -> None:
    _call("cuInit", needs_context=False)


class Device:
    def __init__(self, ordinal: int) -> None:
        _call("cuDeviceGet", needs_context=False)
        if ordinal:
            raise LogicError("cuDeviceGet failed: invalid device ordinal")

    def retain_primary_context(self) -> Context:
        _call("cuDevicePrimaryCtxRetain", needs_context=False)
        return Context()

    def name(self) -> str:
        _call("cuDeviceGetName", needs_context=False)
        return machine.name


class Context:
    def __init__(self) -> None:
        machine.count("context", 1)

    def push(self) -> None:
        _call("cuCtxPushCurrent", needs_context=False)
        with _failing():
            machine.push()

    @staticmethod
    def pop() -> None:
        # Before the call, which may fail: the thread's stack has lost it all the same.
        machine.pop()
        _call("cuCtxPopCurrent", needs_context=False)

    def detach(self) -> None:
        machine.count("context", -1)
        _call("cuDevicePrimaryCtxRelease", needs_context=False)

    @staticmethod
    def synchronize() -> None:
        _call("cuCtxSynchronize")
        with _failing():
            machine.run_until("cuCtxSynchronize", machine.idle)


class Stream:
    def __init__(self, flags: int = 0) -> None:
        _call("cuStreamCreate")
        self._generation = machine.generation
        self.line = machine.new_line()
        machine.count("stream", 1)

    @property
    def handle(self) -> int:
        return id(self.line)

    def synchronize(self) -> None:
        _call("cuStreamSynchronize")
        with _failing():
            machine.run_until("cuStreamSynchronize", lambda: not self.line.work)

    def __del__(self) -> None:
        if getattr(self, "_generation", None) is machine.generation:
            machine.gone("a stream")
            machine.count("stream", -1)


class Event:
    def __init__(self, flags: int = 0) -> None:
        _call("cuEventCreate")
        self._generation = machine.generation
        self._timed = not flags & event_flags.DISABLE_TIMING
        self._recorded: object | None = None
        self._passed: object | None = None
        self._passed_at = 0
        machine.count("event", 1)

    def record(self, stream: Stream) -> Event:
        _call("cuEventRecord")
        self._recorded = mark = object()

        def end() -> None:
            self._passed = mark
            self._passed_at = machine.done_work

        machine.put(stream.line, Work("event", end))
        return self

    def query(self) -> bool:
        _call("cuEventQuery")
        return self._passed is self._recorded

    def synchronize(self) -> Event:
        _call("cuEventSynchronize")
        with _failing():
            machine.run_until("cuEventSynchronize", lambda: self._passed is self._recorded)
        return self

    def time_since(self, event: Event) -> float:
        """Milliseconds; here every piece of work takes one."""
        _call("cuEventElapsedTime")
        if not (self._timed and event._timed) or self._passed is not self._recorded:
            raise LogicError("cuEventElapsedTime failed: invalid resource handle")
        return float(self._passed_at - event._passed_at)

    def __del__(self) -> None:
        if getattr(self, "_generation", None) is machine.generation:
            machine.gone("an event")
            machine.count("event", -1)


class DeviceAllocation:
    def __init__(self, block: Block) -> None:
        self._block = block
        machine.count("device memory", 1)

    def __int__(self) -> int:
        return self._block.address

    def __index__(self) -> int:
        return self._block.address

    def free(self) -> None:
        machine.count("device memory", -1)
        _call("cuMemFree")
        with _failing():
            machine.free(self._block)


def mem_alloc(size: int) -> DeviceAllocation:
    _call("cuMemAlloc")
    with _failing():
        return DeviceAllocation(machine.allocate(size))


class PagelockedHostAllocation:
    def __init__(self, array: np.ndarray) -> None:
        self._array = array
        self.__array_interface__ = array.__array_interface__
        self._block = machine.lock_host(array)
        machine.count("page-locked memory", 1)

    def free(self) -> None:
        machine.count("page-locked memory", -1)
        _call("cuMemFreeHost")
        with _failing():
            machine.free_host(self._block)


def pagelocked_empty(
    shape: tuple[int, ...], dtype: Any, order: str = "C", mem_flags: int = 0
) -> np.ndarray:
    _call("cuMemHostAlloc")
    return np.asarray(PagelockedHostAllocation(np.empty(shape, dtype, order)))


def memcpy_htod_async(dest: Any, src: np.ndarray, stream: Stream | None = None) -> None:
    _call("cuMemcpyHtoDAsync")
    assert stream is not None, "the default stream waits for all others"
    with _failing():
        machine.copy_in(stream.line, int(dest), src)


def memcpy_dtoh_async(dest: np.ndarray, src: Any, stream: Stream | None = None) -> None:
    _call("cuMemcpyDtoHAsync")
    assert stream is not None, "the default stream waits for all others"
    with _failing():
        machine.copy_out(stream.line, dest, int(src))
