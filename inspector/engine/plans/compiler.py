"""From an ONNX file to a plan. The only module that builds with TensorRT; runs in the builder.

The network is strongly typed: precision is in the file, TensorRT chooses no other one. So there is
one way for TensorRT 10 and 11, which knows no other kind. TF32 is off: fp32 means fp32.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import tensorrt as trt

from inspector.errors import EngineError

if TYPE_CHECKING:
    from inspector.engine.manifest import Manifest
    from inspector.engine.plans.key import PlanKey
    from inspector.engine.plans.progress import BuildProgress

LAST_WORDS = 5
"""So many of TensorRT's own errors go into a message."""
_OUT_OF_MEMORY = re.compile(
    r"out ?of ?memory|could not allocate|allocation failure|initialization failure with error: 2\b",
    re.IGNORECASE,
)
"""The last one is CUDA's number for the same, where memory is short even for a context."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """What a build made.

    Attributes:
        plan: the serialised engine.
        timing_cache: what was measured, for the next build on this platform.
    """

    plan: bytes
    timing_cache: bytes


def tensorrt_version() -> str:
    """Of the library that builds here."""
    return str(trt.__version__)


def compile_plan(
    manifest: Manifest, model: bytes, key: PlanKey, timing_cache: bytes, progress: BuildProgress
) -> Compiled:
    """Build a plan; takes seconds to many minutes, and a good part of the GPU.

    Args:
        manifest: of the engine, for names and sizes of its ports.
        model: the ONNX file of the key's precision.
        key: batch profile and settings.
        timing_cache: of an earlier build on this platform; may be empty.
        progress: told of every phase, from TensorRT's threads.

    Raises:
        EngineError: TensorRT cannot read the file (which operator, which node), has no memory for
            it, or found no way to build it: with its own last words.
    """
    logger = _Logger()
    monitor = _Monitor(progress)
    name = f"engine {manifest.name} ({key.precision})"
    try:
        builder = trt.Builder(logger)
        network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        _parse(network, model, logger, name)
        _check_ports(network, manifest, name)
        config = _config(builder, manifest, key, name)
        cache = config.create_timing_cache(timing_cache)
        if not config.set_timing_cache(cache, ignore_mismatch=False):
            # It is of another library after all: measured anew.
            config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)
        config.progress_monitor = monitor
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            msg = f"TensorRT built no plan of {name}: {logger.why()}"
            raise EngineError(msg)
        kept = config.get_timing_cache()
        return Compiled(bytes(plan), bytes(kept.serialize()) if kept is not None else b"")
    except (TypeError, RuntimeError, MemoryError) as error:
        # What the bindings make of a null pointer, of a CUDA error and of host memory that is gone.
        msg = f"TensorRT failed to build {name}: {type(error).__name__}: {error}; {logger.why()}"
        raise EngineError(msg) from error


def _parse(network: Any, model: bytes, logger: _Logger, name: str) -> None:
    parser = trt.OnnxParser(network, logger)
    if parser.parse(model):
        return
    faults = [parser.get_error(number) for number in range(parser.num_errors)]
    said = "; ".join(_fault(fault) for fault in faults[:LAST_WORDS]) or logger.why()
    msg = (
        f"TensorRT {trt.__version__} cannot read the file of {name}: {said}; "
        "set another precision or runtime: openvino, or install a TensorRT that knows it"
    )
    raise EngineError(msg)


def _fault(fault: Any) -> str:
    return f"operator {fault.node_operator()} at node {fault.node_name()!r}: {fault.desc()}"


def _check_ports(network: Any, manifest: Manifest, name: str) -> None:
    came = [
        (port.name, port.dtype)
        for port in (
            *(network.get_input(i) for i in range(network.num_inputs)),
            *(network.get_output(i) for i in range(network.num_outputs)),
        )
    ]
    expected = [(manifest.input.name, trt.uint8), (manifest.output.name, trt.float32)]
    if came != expected:
        msg = f"{name} has the ports {_ports(came)}, expected {_ports(expected)}"
        raise EngineError(msg)


def _ports(ports: list[tuple[str, Any]]) -> str:
    return ", ".join(f"{name} ({kind})" for name, kind in ports)


def _config(builder: Any, manifest: Manifest, key: PlanKey, name: str) -> Any:
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, key.settings.workspace_mb << 20)
    config.builder_optimization_level = key.settings.optimization_level
    config.clear_flag(trt.BuilderFlag.TF32)
    tile = (manifest.input.height, manifest.input.width, 3)
    profile = builder.create_optimization_profile()
    profile.set_shape(
        manifest.input.name,
        (key.batch.least, *tile),
        (key.batch.best, *tile),
        (key.batch.most, *tile),
    )
    if config.add_optimization_profile(profile) < 0:
        msg = (
            f"TensorRT takes no batches of {key.batch.least} to {key.batch.most} tiles of {name}; "
            "the file must leave the first dimension open"
        )
        raise EngineError(msg)
    return config


class _Logger(trt.ILogger):  # type: ignore[misc] # the bindings ship no types
    """Keeps TensorRT's last errors: what it returns says only that it failed."""

    def __init__(self) -> None:
        trt.ILogger.__init__(self)
        self._errors: deque[str] = deque(maxlen=LAST_WORDS)

    def log(self, severity: Any, msg: str) -> None:
        """Called by TensorRT, from any of its threads."""
        if severity in {trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR}:
            self._errors.append(" ".join(msg.split()))

    def why(self) -> str:
        """What went wrong, in TensorRT's words, and what to do where that is known."""
        if not self._errors:
            return "it did not say why"
        said = "; ".join(self._errors)
        if _OUT_OF_MEMORY.search(said):
            return (
                f"the GPU's memory is full: {said}; "
                "end what else uses the GPU, or lower engine.max_batch"
            )
        return said


class _Monitor(trt.IProgressMonitor):  # type: ignore[misc] # the bindings ship no types
    """Hands TensorRT's phases on."""

    def __init__(self, progress: BuildProgress) -> None:
        trt.IProgressMonitor.__init__(self)
        self._progress = progress

    def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
        """Called by TensorRT, from any of its threads."""
        self._progress.phase_start(phase_name, parent_phase, num_steps)

    def step_complete(self, phase_name: str, step: int) -> bool:
        """Called by TensorRT, from any of its threads; True: go on."""
        self._progress.step_complete(phase_name, step)
        return True

    def phase_finish(self, phase_name: str) -> None:
        """Called by TensorRT, from any of its threads."""
        self._progress.phase_finish(phase_name)
