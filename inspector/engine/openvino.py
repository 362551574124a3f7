"""OpenVINO on the processor, in this process. The only module that imports `openvino`.

Two lanes, each a request with an input buffer of its own: while one is computed, the next batch
is cut into the other. One stream and a dynamic batch: measured on two cores, more streams or fixed
shapes gain nothing and cost latency (docs/engines.md).
"""

from __future__ import annotations

import functools
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import numpy as np

from inspector.engine.mapped import MappedRings
from inspector.engine.unsigned import unsigned
from inspector.errors import EngineError
from inspector.verdict import EngineInfo

# Where this module is there, OpenVINO tells its makers of each import, over the network. Marked as
# absent it is not asked: a station talks to cameras, broker and line alone.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
import openvino as ov  # noqa: E402 - what it looks for is settled first

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from inspector.engine.manifest import Manifest, Precision
    from inspector.engine.runtime import TileRef
    from inspector.slots import Ring

_LANES = 2


@functools.cache
def _core() -> ov.Core:
    return ov.Core()


@functools.cache
def precisions_of_processor() -> tuple[Precision, ...]:
    """What this processor computes, the fastest as a rule first.

    A file in fp16 is computed in fp32 where the processor has no fp16 of its own.
    """
    able = set(_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
    return ("int8", "bf16", "fp16", "fp32") if "BF16" in able else ("int8", "fp16", "fp32")


def _hint(precision: Precision) -> ov.Type:
    # Always explicit: OpenVINO's own choice for an fp32 file is bf16 on processors that have it.
    if precision == "bf16":
        return ov.Type.bf16
    able = _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return ov.Type.f16 if precision == "fp16" and "FP16" in able else ov.Type.f32


class _Lane:
    def __init__(self, compiled: ov.CompiledModel, shape: tuple[int, ...]) -> None:
        self.request = compiled.create_infer_request()
        self.buffer: NDArray[np.uint8] = np.empty(shape, dtype=np.uint8)

    def infer(self, batch: int) -> NDArray[np.float32]:
        """Judge the first `batch` tiles of the buffer; blocks without the interpreter lock."""
        self.request.set_input_tensor(ov.Tensor(self.buffer[:batch], shared_memory=True))
        self.request.start_async()
        self.request.wait()
        return np.array(self.request.get_output_tensor().data, dtype=np.float32)


class OpenVinoRuntime:
    """An engine on the processor; follows `Runtime`. Any thread.

    `submit` copies the tiles before it returns, and blocks while both lanes are busy.

    Args:
        max_batch: most tiles of one `submit`.
        threads: processor threads; all that this process may use if None.

    Raises:
        EngineError: the processor lacks the precision, the file is missing, damaged or refused by
            OpenVINO, or OpenVINO compiled something else than it was asked for.
    """

    def __init__(
        self,
        manifest: Manifest,
        precision: Precision,
        *,
        max_batch: int,
        threads: int | None = None,
    ) -> None:
        if precision not in precisions_of_processor():
            msg = (
                f"engine {manifest.name}: this processor has no {precision}; "
                f"it has {', '.join(precisions_of_processor())}"
            )
            raise EngineError(msg)
        self._info = EngineInfo(
            name=manifest.name,
            version=manifest.version,
            sha256=manifest.file_of(precision).sha256,
            runtime="openvino",
            precision=precision,
        )
        self._max_batch = max_batch
        self._rings = MappedRings(self._name(), max_batch)
        self._closed = False
        try:
            compiled = _compile(manifest, precision, max_batch, threads)
            shape = (max_batch, manifest.input.height, manifest.input.width, 3)
            lanes = [_Lane(compiled, shape) for _ in range(_LANES)]
        except (RuntimeError, ValueError) as error:
            file = manifest.folder / manifest.file_of(precision).path
            why = str(error).strip().splitlines()[-1]
            msg = f"{self._name()} cannot compile {file}: {why}"
            raise EngineError(msg) from error
        self._free: SimpleQueue[_Lane | None] = SimpleQueue()
        for lane in lanes:
            self._free.put(lane)
        self._workers = ThreadPoolExecutor(_LANES, thread_name_prefix=f"openvino-{manifest.name}")

    def _name(self) -> str:
        return f"engine {self._info.name} on openvino ({self._info.precision})"

    @property
    def info(self) -> EngineInfo:
        """Which engine, runtime and precision serve now."""
        return self._info

    @property
    def max_batch(self) -> int:
        """Most tiles that one `submit` takes."""
        return self._max_batch

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
        if self._closed:
            return self._failed("it is closed")
        self._rings.check_rings(tiles)
        lane = self._free.get()
        if lane is None:
            self._free.put(None)
            return self._failed("it is closed")
        try:
            self._rings.cut(tiles, lane.buffer)
            future = self._workers.submit(self._infer, lane, len(tiles))
        except BaseException:
            self._free.put(lane)
            raise
        future.add_done_callback(lambda _: self._free.put(lane))
        return future

    def _infer(self, lane: _Lane, batch: int) -> NDArray[np.float32]:
        try:
            return lane.infer(batch)
        except RuntimeError as error:
            msg = f"{self._name()} failed on a batch of {batch} tiles: {error}"
            raise EngineError(msg) from error

    def _failed(self, why: str) -> Future[NDArray[np.float32]]:
        future: Future[NDArray[np.float32]] = Future()
        future.set_exception(EngineError(f"{self._name()}: {why}"))
        return future

    def close(self) -> None:
        """Finish what is in flight and give all resources back. Idempotent."""
        if self._closed:
            return
        self._closed = True
        for _ in range(_LANES):
            self._free.get()
        self._free.put(None)
        self._workers.shutdown()
        self._rings.clear()


def _compile(
    manifest: Manifest, precision: Precision, max_batch: int, threads: int | None
) -> ov.CompiledModel:
    """Read, check and compile; what was compiled is held against what was asked for."""
    content = manifest.read_model(precision)
    model = _core().read_model(unsigned(content) if precision == "int8" else content, b"")
    _check_ports(manifest, model)
    size = manifest.sampling.tile
    model.reshape({manifest.input.name: ov.PartialShape([(1, max_batch), size, size, 3])})
    hint = _hint(precision)
    settings: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": hint,
        "NUM_STREAMS": "1",
        # Pinning would lay several engines of one station onto the same cores.
        "ENABLE_CPU_PINNING": False,
    }
    if threads is not None:
        settings["INFERENCE_NUM_THREADS"] = threads
    compiled = _core().compile_model(model, "CPU", settings)
    _check_compiled(compiled, precision, hint)
    return compiled


_COMPUTED_IN: Mapping[Precision, frozenset[str]] = {
    "fp32": frozenset({"f32"}),
    "fp16": frozenset({"f16", "f32"}),
    "bf16": frozenset({"bf16"}),
    "int8": frozenset({"i8", "u8"}),
}
_HEAVY = frozenset({"Convolution", "FullyConnected", "MatMul"})


def _check_compiled(compiled: ov.CompiledModel, precision: Precision, hint: ov.Type) -> None:
    """Raise where OpenVINO compiled something else than it was asked for.

    A setting may be taken and not followed, so the layers that do the work are asked too.
    """
    devices = list(compiled.get_property("EXECUTION_DEVICES"))
    used = compiled.get_property("INFERENCE_PRECISION_HINT")
    if devices != ["CPU"] or used != hint:
        msg = (
            f"openvino compiled for {', '.join(devices)} in {used.get_type_name()}, "
            f"asked was CPU in {hint.get_type_name()}"
        )
        raise ValueError(msg)
    facts = [node.get_rt_info() for node in compiled.get_runtime_model().get_ops()]
    kinds = {f["runtimePrecision"].value for f in facts if f["layerType"].value in _HEAVY}
    wanted = _COMPUTED_IN[precision]
    # A few layers of an int8 or bf16 network may rightly stay in a wider type; none of fp32 may
    # become narrower.
    fits = kinds <= wanted if precision == "fp32" else bool(kinds & wanted)
    if kinds and not fits:
        msg = (
            f"openvino computes in {', '.join(sorted(kinds))}, expected {'/'.join(sorted(wanted))}"
        )
        raise ValueError(msg)


def _check_ports(manifest: Manifest, model: ov.Model) -> None:
    inputs, outputs = list(model.inputs), list(model.outputs)
    if len(inputs) != 1 or len(outputs) != 1:
        msg = f"{len(inputs)} inputs and {len(outputs)} outputs, expected one of each"
        raise ValueError(msg)
    for port, name, kind in (
        (inputs[0], manifest.input.name, ov.Type.u8),
        (outputs[0], manifest.output.name, ov.Type.f32),
    ):
        if name not in port.names or port.element_type != kind:
            msg = (
                f"port {'/'.join(sorted(port.names))} of {port.element_type.get_type_name()}, "
                f"expected {name} of {kind.get_type_name()}"
            )
            raise ValueError(msg)
    columns = outputs[0].partial_shape[-1]
    if columns.is_static and columns.get_length() != len(manifest.classes):
        msg = f"{columns.get_length()} outputs, expected {len(manifest.classes)} classes"
        raise ValueError(msg)
