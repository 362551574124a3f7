"""Engine processes that go wrong on command: a real runtime, until a flag file is there.

The process unpickles `Faulty` and imports this module, as it would any spec's.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from inspector.engine.manifest import read_manifest
from inspector.engine.openvino import OpenVinoRuntime
from inspector.errors import EngineError, EngineLostError

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Faulty:
    """OpenVINO in fp32 that does `fault` at every batch while `flag` exists."""

    folder: Path
    fault: str
    flag: Path
    max_batch: int = 4

    def open(self):
        if self.fault == "does not open" and self.flag.exists():
            raise EngineError("engine tiny: it does not open")
        if self.fault == "crashes at the start" and self.flag.exists():
            os._exit(9)
        return FaultyRuntime(self)


class FaultyRuntime(OpenVinoRuntime):
    def __init__(self, spec):
        super().__init__(read_manifest(spec.folder), "fp32", max_batch=spec.max_batch, threads=1)
        self._spec = spec

    def submit(self, tiles):
        future = super().submit(tiles)
        if not self._spec.flag.exists():
            return future
        return FAULTS[self._spec.fault](future, len(tiles))


def _failing(error):
    future = Future()
    future.set_exception(error)
    return future


def _answering(rows):
    future = Future()
    future.set_result(rows)
    return future


def _garbage(future, _):
    os.write(int(sys.argv[-1]), b"\x00\xffnot a message")
    return future


def _interpreter_lock(future, _):
    ctypes.PyDLL(None).sleep(600)
    return future


def _slow(future, _):
    time.sleep(600)
    return future


def _late(future, _):
    time.sleep(0.5)
    return future


FAULTS = {
    "takes half a second": _late,
    "segfaults": lambda *_: ctypes.string_at(0),
    "ends": lambda *_: os._exit(7),
    "never answers": lambda *_: Future(),
    "blocks": _slow,
    "keeps the interpreter's lock": _interpreter_lock,
    "sends garbage": _garbage,
    "answers too many rows": lambda _, n: _answering(np.full((n + 1, 8), 0.125, np.float32)),
    "answers no rows": lambda *_: _answering(np.zeros((), np.float32)),
    "answers too few classes": lambda _, n: _answering(np.full((n, 3), 0.3, np.float32)),
    "answers no numbers": lambda _, n: _answering(np.full((n, 8), np.nan, np.float32)),
    "fails": lambda *_: _failing(EngineError("out of memory")),
    "is lost": lambda *_: _failing(EngineLostError("CUDA_ERROR_LAUNCH_FAILED")),
}
