"""What an engine process runs: small values that are pickled to it, and opened there.

A spec is any picklable value with `open() -> Runtime`. It is opened in the engine process only, so
the runtime's module (and the native library below it) is imported nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from inspector.engine.manifest import Precision
    from inspector.engine.runtime import Runtime


class RuntimeSpec(Protocol):
    """How to open a runtime in an engine process; picklable."""

    def open(self) -> Runtime:
        """Compile or load, and warm. Called once, in the engine process. Raises EngineError."""


@dataclass(frozen=True, slots=True)
class OpenVinoSpec:
    """An engine on the processor.

    Attributes:
        folder: the engine folder.
        max_batch: most tiles of one batch.
        threads: processor threads; all that the process may use if None.
    """

    folder: Path
    precision: Precision
    max_batch: int
    threads: int | None = None

    def open(self) -> Runtime:
        """Read, compile. Raises EngineError."""
        from inspector.engine.manifest import read_manifest
        from inspector.engine.openvino import OpenVinoRuntime

        return OpenVinoRuntime(
            read_manifest(self.folder),
            self.precision,
            max_batch=self.max_batch,
            threads=self.threads,
        )


@dataclass(frozen=True, slots=True)
class TensorRtSpec:
    """An engine on an NVIDIA GPU, by a plan that was compiled before.

    Attributes:
        folder: the engine folder.
        max_batch: most tiles of one batch; what the plan's profile reaches to.
        plan: the plan's file, in the station's own folder.
        plan_sha256: its digest, which is checked before it is loaded: a plan is code.
        device: number of the GPU.
    """

    folder: Path
    precision: Precision
    max_batch: int
    plan: Path
    plan_sha256: str
    device: int = 0

    def open(self) -> Runtime:
        """Check the plan's digest, load it, warm every batch size. Raises EngineError."""
        from inspector.engine.manifest import read_manifest
        from inspector.engine.tensorrt import TensorRtRuntime

        runtime: Runtime = TensorRtRuntime(
            read_manifest(self.folder),
            self.precision,
            plan=self.plan,
            plan_sha256=self.plan_sha256,
            max_batch=self.max_batch,
            device=self.device,
        )
        return runtime


def open_runtime(spec: RuntimeSpec) -> Runtime:
    """Open what a spec names; to be called in the engine process only. Raises EngineError."""
    return spec.open()
