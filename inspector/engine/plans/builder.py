"""The builder: a process of its own that compiles one plan and puts it into the plan folder.

    python -m inspector.engine.plans.builder < REQUEST

A build takes minutes and much memory, and a native library may crash over it: that costs this
process. It tells on standard output how far it is; when its standard input ends, so does it. A kill
at any instant leaves no half plan (`files.write_whole`) and no lock (`lock.one_builder`).
"""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING, TextIO

from pydantic import ValidationError

from inspector.engine.manifest import read_manifest
from inspector.engine.plans.files import make_folder, probe_folder
from inspector.engine.plans.lock import one_builder
from inspector.engine.plans.progress import BuildProgress, left_s
from inspector.engine.plans.request import Done, Failed, Request, Stage
from inspector.engine.plans.store import Plans
from inspector.errors import EngineError

if TYPE_CHECKING:
    from types import ModuleType

    from inspector.engine.plans.key import PlanKey

TELL_EVERY_S = 0.5
_NICENESS = 10
"""Judging goes before building, where both want the processor."""
_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15


class _Teller:
    """Tells the owner; ends the process when nobody listens."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._lock = threading.Lock()

    def tell(self, line: Stage | Done | Failed) -> None:
        try:
            with self._lock:
                self._out.write(line.model_dump_json() + "\n")
                self._out.flush()
        except OSError:
            os._exit(0)


def build(request: Request, teller: _Teller) -> Done:
    """Build what is asked, unless it is there when this process' turn comes.

    Raises:
        EngineError: TensorRT, the engine's files or the plan folder are at fault.
    """
    key = request.key
    plans = Plans(request.plans, max_bytes=request.max_bytes)
    make_folder(request.plans)

    def waiting(whom: str) -> None:
        teller.tell(Stage(stage="waiting", detail=f"{whom} in {request.plans}"))

    with one_builder(request.plans, key.what, waiting):
        if not request.again and plans.find(key).state == "fits":
            return Done(made=False)
        probe_folder(request.plans)  # now, and not after minutes of work
        teller.tell(Stage(stage="reading"))
        _compile(request, plans, teller)
    return Done(made=True)


def _compile(request: Request, plans: Plans, teller: _Teller) -> None:
    key = request.key
    manifest = read_manifest(request.engine_folder)
    file = manifest.file_of(key.precision)
    if file.sha256 != key.model_sha256:
        msg = (
            f"engine {manifest.name}: its {key.precision} file changed while its plan was asked "
            f"for: sha256 {file.sha256}, expected {key.model_sha256}"
        )
        raise EngineError(msg)
    model = manifest.read_model(key.precision)
    compiler = _compiler(key)
    began = time.monotonic()
    last_s = plans.last_build_s(key)
    progress = BuildProgress()
    over = threading.Event()

    def report() -> None:
        while not over.wait(TELL_EVERY_S):
            percent = progress.percent
            left = left_s(time.monotonic() - began, percent, last_s)
            stage = progress.stage or "building"
            teller.tell(Stage(stage=stage, percent=percent, left_s=left and round(left, 1)))

    reporter = threading.Thread(target=report, daemon=True)
    reporter.start()
    # What is built again was wrong or slow: with the old measurements it would be the same again.
    measured = b"" if request.again else plans.timing_cache(key.platform)
    try:
        made = compiler.compile_plan(manifest, model, key, measured, progress)
    finally:
        over.set()
        reporter.join()
    teller.tell(Stage(stage="writing", percent=100.0))
    build_s = time.monotonic() - began
    plans.add(key, made.plan, engine_version=manifest.version, build_s=build_s)
    try:
        plans.keep_timing_cache(key.platform, made.timing_cache)
    except (OSError, EngineError):
        traceback.print_exc()  # the next build takes longer, no more


def _compiler(key: PlanKey) -> ModuleType:
    try:
        from inspector.engine.plans import compiler
    except ImportError as error:
        msg = f"TensorRT cannot be loaded: {error}"
        raise EngineError(msg) from error
    came = compiler.tensorrt_version()
    if came != key.platform.tensorrt:
        msg = f"TensorRT is {came} now, and was {key.platform.tensorrt} when the plan was asked for"
        raise EngineError(msg)
    return compiler


def _end_with_owner() -> None:
    """End when standard input does: the owner is gone, or wants no plan any more."""
    while os.read(0, 4096):
        pass
    os._exit(0)


def main() -> int:
    """Build what standard input asks for; 0 where a plan is there, 1 where not."""
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    libc.prctl(_PR_SET_NAME, b"plan-builder", 0, 0, 0)
    faulthandler.enable()
    # Terminals and service managers reach the whole group; the end of our input is ours.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.nice(_NICENESS)
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a native library prints is no line of ours
    teller = _Teller(out)
    asked = _read_line()
    threading.Thread(target=_end_with_owner, daemon=True).start()
    try:
        teller.tell(build(Request.model_validate_json(asked), teller))
    except EngineError as error:
        teller.tell(Failed(reason=str(error)))
        return 1
    except (ValidationError, OSError) as error:
        teller.tell(Failed(reason=f"{type(error).__name__}: {error}"))
        return 1
    return 0


def _read_line() -> bytes:
    """The first line of standard input, and not a byte more."""
    line = b""
    while not line.endswith(b"\n") and (byte := os.read(0, 1)):
        line += byte
    return line


if __name__ == "__main__":
    status = main()
    sys.stderr.flush()
    # Without the exit handlers of native libraries: some crash there.
    os._exit(status)
