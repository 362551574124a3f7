"""The engine process: opens one runtime and judges for its owner until the connection ends.

Three kinds of threads: the main one takes messages in their order, the runtime's own answer, and
one sends a sign of life, so that a native library that keeps the interpreter's lock, and a process
that was stopped, are noticed.
"""

from __future__ import annotations

import ctypes
import faulthandler
import os
import pickle
import signal
import socket
import sys
import threading
import time
import traceback
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from inspector.engine.process import wire
from inspector.engine.process.spec import open_runtime
from inspector.errors import EngineError, EngineLostError
from inspector.slots import Ring

if TYPE_CHECKING:
    from concurrent.futures import Future

    from numpy.typing import NDArray

    from inspector.engine.runtime import Runtime

PR_SET_PDEATHSIG, PR_SET_NAME = 1, 15


class _Service:
    """One runtime, as its owner's messages want it."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._rings: dict[str, Ring] = {}

    def run(self) -> None:
        """Open what the first message names, then do as told. Raises OSError if the owner left."""
        threading.Thread(target=self._beat, daemon=True).start()
        runtime = self._open()
        if runtime is None:
            return
        try:
            while (got := wire.receive(self._end)) is not None and got[0]["t"] != "stop":
                head, _, fds = got
                self._do(runtime, head, fds)
        finally:
            runtime.close()

    def _beat(self) -> None:
        while True:
            try:
                wire.send(self._end, {"t": "beat"})
            except OSError:
                # The owner is gone, and the main thread may be deep in a native library.
                os._exit(0)
            time.sleep(wire.BEAT_S)

    def _open(self) -> Runtime | None:
        got = wire.receive(self._end)
        if got is None:
            return None
        try:
            runtime = open_runtime(pickle.loads(got[1]))  # noqa: S301 - from our owner alone
        except EngineError as error:
            wire.send(self._end, {"t": "failed", "detail": str(error)})
            return None
        except Exception as error:  # noqa: BLE001 - the edge of the process
            traceback.print_exc()
            wire.send(self._end, {"t": "failed", "detail": f"{type(error).__name__}: {error}"})
            return None
        facts = {"info": asdict(runtime.info), "max_batch": runtime.max_batch}
        wire.send(self._end, {"t": "ready", **facts})
        return runtime

    def _do(self, runtime: Runtime, head: wire.Head, fds: list[int]) -> None:
        kind = head["t"]
        if kind == "map":
            ring = Ring(fds[0], head["slots"], head["slot_bytes"], head["key"])
            self._rings[ring.key] = ring
            runtime.map_ring(ring)
        elif kind == "unmap":
            runtime.unmap_ring(head["key"])
            if (gone := self._rings.pop(head["key"], None)) is not None:
                gone.close()
        elif kind == "judge":
            self._judge(runtime, head)

    def _judge(self, runtime: Runtime, head: wire.Head) -> None:
        number = int(head["id"])
        try:
            future = runtime.submit(wire.unpack(head["tiles"]))
        except Exception as error:  # noqa: BLE001 - it costs this batch, not the process
            self._fail(number, error)
        else:
            future.add_done_callback(partial(self._answer, number))

    def _answer(self, number: int, future: Future[NDArray[np.float32]]) -> None:
        error = future.exception()
        if error is not None:
            self._fail(number, error)
            return
        rows = np.ascontiguousarray(future.result(), dtype=np.float32)
        wire.send(self._end, {"t": "rows", "id": number, "shape": rows.shape}, rows.tobytes())

    def _fail(self, number: int, error: BaseException) -> None:
        if not isinstance(error, EngineError | ValueError):
            traceback.print_exception(error)
        kind = "lost" if isinstance(error, EngineLostError) else "error"
        said = str(error) or type(error).__name__
        wire.send(self._end, {"t": kind, "id": number, "detail": said[:4000]})


def main(arguments: list[str]) -> int:
    """Serve the owner at the other end of a descriptor that is named in the arguments."""
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    libc.prctl(PR_SET_NAME, b"engine", 0, 0, 0)
    faulthandler.enable()  # where a native library crashes, the log has each thread's place
    # Terminals and service managers reach the whole group; stop and reload are the station's.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    end = socket.socket(fileno=int(arguments[0]))
    try:
        _Service(end).run()
    except (BrokenPipeError, ConnectionResetError):
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
