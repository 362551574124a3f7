"""What a GPU does with a plan when nobody is in its way: the ceiling that serving is held against.

    python -m inspector.engine.nvidia.alone        by `inspector.engine.gpu_bench`

Runs in a process of its own, as everything that loads TensorRT. The same plan, the same copies, the
same two lanes; but no tile is cut, no row is read, and nothing is sent to another process.
"""

from __future__ import annotations

import json
import os
import pickle
import sys
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from inspector.engine.nvidia.ports import Shares
from inspector.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inspector.engine.nvidia.device import Device
    from inspector.engine.process.spec import TensorRtSpec
    from inspector.engine.tensorrt import TensorRtRuntime

_LEAST_BATCHES = 10


@dataclass(frozen=True, slots=True)
class Order:
    """What to measure; pickled to the process.

    Attributes:
        batches: tiles at once, none more than the spec's `max_batch`.
        seconds: for each of them.
    """

    spec: TensorRtSpec
    batches: tuple[int, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class Alone:
    """One batch size. The times are the mean of batches that ran one after another."""

    batch: int
    tiles_per_s: float
    copy_in_s: float
    compute_s: float
    copy_out_s: float


def measure(runtime: TensorRtRuntime, batches: Sequence[int], seconds: float) -> list[Alone]:
    """Measure batch sizes on a runtime that does nothing else meanwhile.

    Raises:
        EngineError: a call of CUDA or TensorRT failed.
    """
    found = []

    def one(device: Device, count: int) -> None:
        size = next(size for size in runtime.sizes if size >= count)
        rate = _batches_per_s(device, count, size, seconds)
        mean = _mean([device.lanes[0].timed(count, size) for _ in range(_LEAST_BATCHES)])
        found.append(Alone(count, rate * count, **asdict(mean)))

    for count in batches:
        runtime.run_alone(lambda device, count=count: one(device, count))  # type: ignore[misc]
    return found


def _batches_per_s(device: Device, count: int, size: int, seconds: float) -> float:
    done = 0
    began = time.perf_counter()
    for lane in device.lanes:
        lane.launch(count, size)
    while time.perf_counter() < began + seconds or done < _LEAST_BATCHES:
        lane = device.lanes[done % len(device.lanes)]
        lane.wait()
        lane.launch(count, size)
        done += 1
    for lane in device.lanes:
        lane.wait()
    return (done + len(device.lanes)) / (time.perf_counter() - began)


def _mean(shares: Sequence[Shares]) -> Shares:
    rows = zip(*((one.copy_in_s, one.compute_s, one.copy_out_s) for one in shares), strict=True)
    return Shares(*(sum(row) / len(row) for row in rows))


def main() -> None:
    """Read an `Order` from standard input, tell as JSON; ends without native exit handlers."""
    order: Order = pickle.load(sys.stdin.buffer)  # noqa: S301 - from our own parent
    try:
        runtime: TensorRtRuntime = order.spec.open()  # type: ignore[assignment]
        found = measure(runtime, order.batches, order.seconds)
        runtime.close()
        print(json.dumps([asdict(one) for one in found]), flush=True)
    except EngineError as error:
        print(json.dumps({"fault": str(error)}), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
