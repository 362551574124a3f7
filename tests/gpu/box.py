"""The boxes that the tests of this folder run on, and what differs between them.

A real GPU, with TensorRT 10 and with TensorRT 11: whichever is installed, and the other one from
a folder that an environment variable names. And the simulated GPU with the tests' tiny engine, so
that these tests run on every machine; nothing is held against clock or GPU memory there.
"""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from inspector.engine.folders import engine_names, shipped_engines_folder
from inspector.engine.nvidia.report import ask_nvidia
from inspector.engine.plans.engine_plans import EnginePlans, platform_of
from inspector.engine.plans.store import Plans
from tests.engine import tiny_engine
from tests.engine.simulated_gpu import program, stand_in
from tests.engine.simulated_gpu.device import VARIABLE, Device

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from inspector.engine.load import Engine
    from inspector.engine.nvidia.report import NvidiaReport

MAX_BATCH = 16
BATCHES = (1, 2, 4, 8, MAX_BATCH)
FOLDER_OF = "INSPECTOR_TEST_TENSORRT_{}"
"""A variable for each major version: a folder with it, where it is not what is installed."""
PREFERRED = "INSPECTOR_TEST_PREFERRED_TENSORRT"
"""A variable for `tests.gpu.program`: the folder of the TensorRT that it is to use."""

# Takes all memory but for a little, in ever smaller pieces, and keeps it until its input ends.
_HOG = """
import sys
import pycuda.driver as cuda
cuda.init()
if cuda.Device(0).get_attribute(cuda.device_attribute.INTEGRATED):
    print("shared", flush=True)  # it is the memory of the whole box: nothing for a test to fill
    sys.exit()
context = cuda.Device(0).retain_primary_context()
context.push()
kept, size = [], cuda.mem_get_info()[0]
while size > 1 << 20:
    try:
        kept.append(cuda.mem_alloc(size))
    except cuda.MemoryError:
        size //= 2
print("full", flush=True)
sys.stdin.read()
"""


def prefer(folder: str, patch: pytest.MonkeyPatch) -> None:
    """Have what this process starts find the TensorRT in a folder before any other."""
    path = [folder, *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, path)))


@dataclass(frozen=True)
class Box:
    """One box with one engine.

    Attributes:
        real: whether there is a GPU.
        engine: folder of the engine.
        folder: for plans and whatever else is written.
        swaps, load_s, seconds, batches: how often, for how long, what is measured.
        program: the module that is `inspector` on this box.
        env: what that needs.
    """

    real: bool
    engine: Path
    folder: Path
    swaps: int
    load_s: float
    seconds: float
    batches: tuple[int, ...]
    program: str
    env: dict[str, str]

    def report(self) -> NvidiaReport:
        """What there is, as it is now."""
        return ask_nvidia() if self.real else stand_in.report()

    def plans(self, precision: str = "auto", folder: Path | None = None) -> EnginePlans:
        """The plans of the engine; in the box's own folder they are built once for all tests."""
        store = Plans(folder or self.folder / "plans", max_bytes=20_000_000_000)
        how: Any = {"precision": precision, "max_batch": MAX_BATCH}
        return EnginePlans.of(self.engine, platform_of(self.report()), store, **how)

    def open(self, precision: str) -> Engine:
        """The engine on its plan, which is built where there is none yet; the caller closes it."""
        return self.plans(precision).build(on_stage=lambda *_: None)

    def used_bytes(self) -> int:
        """Memory of the GPU that is taken, by whomever."""
        gpu, _ = self.report().require()
        return gpu.memory_bytes - gpu.free_bytes

    def holds(self, what: str, truth: bool) -> None:
        """Say what was measured, and hold it against its bound where that means something."""
        name = self.engine.name
        print(f"{name} on {'a GPU' if self.real else 'the simulated GPU'}: {what}")
        assert truth or not self.real, what

    @contextlib.contextmanager
    def full(self) -> Iterator[None]:
        """Somebody else has all of the GPU's memory meanwhile."""
        if not self.real:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv(VARIABLE, Device(free_mb=0).to_json())
                yield
            return
        hog = [sys.executable, "-c", _HOG]
        pipe = subprocess.PIPE
        with subprocess.Popen(hog, stdin=pipe, stdout=pipe, text=True) as process:
            said = process.stdout.readline().strip()
            if said == "shared":
                pytest.skip("this GPU has no memory of its own")
            assert said == "full"
            yield
            process.stdin.close()


@functools.cache
def _installed() -> NvidiaReport:
    return ask_nvidia()


def simulated(folder: Path, patch: pytest.MonkeyPatch) -> Box:
    """The simulated GPU, which runs the plans of the tests' tiny engine."""
    env = {VARIABLE: Device().to_json(), stand_in.REAL_RUNTIME: "1"}
    for name, value in env.items():
        patch.setenv(name, value)
    for module, name, value in stand_in.changes():
        patch.setattr(module, name, value)
    engine = folder / "engines" / "tiny"
    if not engine.exists():
        tiny_engine.make(engine.parent)
    return Box(False, engine, folder, 3, 0.5, 0.05, (1, 3), program.__name__, env)


def real(major: str, name: str, folder: Path, patch: pytest.MonkeyPatch) -> Box:
    """A GPU with a TensorRT of one major version; skips the test, with the reason, without it."""
    variable = FOLDER_OF.format(major)
    there = _installed()
    if there.gpu is None:
        pytest.skip(f"TensorRT cannot run here: {there.fault}")
    home = shipped_engines_folder()
    if name not in engine_names(home):
        pytest.skip(f"there is no engine {name} in {home}")
    env = {}
    if there.tensorrt is None or there.tensorrt.version.split(".")[0] != major:
        if variable not in os.environ:
            pytest.skip(
                f"TensorRT {major} is not installed: pip install --target FOLDER "
                f"'tensorrt=={major}.*', and {variable}=FOLDER"
            )
        env[PREFERRED] = os.environ[variable]
        prefer(os.environ[variable], patch)
        there = ask_nvidia()
    if there.fault is not None:
        pytest.skip(f"TensorRT {major} cannot run here: {there.fault}")
    assert there.tensorrt is not None
    assert there.tensorrt.version.split(".")[0] == major
    return Box(True, home / name, folder, 100, 600.0, 5.0, BATCHES, "tests.gpu.program", env)


BOXES = {
    f"tensorrt{major}-{name}": functools.partial(real, major, name)
    for major in ("10", "11")
    for name in ("simplenet", "inceptionresnetv2")
} | {"simulated": simulated}
