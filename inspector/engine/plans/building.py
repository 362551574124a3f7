"""Has a plan built by a process of its own, and tells how far it is.

Runs in the station, the doctor or a command; imports no native library.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from pydantic import ValidationError

from inspector.engine.child_environment import child_environment
from inspector.engine.plans.request import Done, Failed, Request, Said, Stage
from inspector.engine.plans.store import Plans
from inspector.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO

    from inspector.engine.plans.sidecar import Plan

BUILDER = "inspector.engine.plans.builder"
"""The module that builds, run by the interpreter that runs this."""
BUILD_WITHIN_S = 2 * 3600.0
"""After this long a builder counts as hung. Builds of ten minutes are usual on small devices."""

_TURN_S = 0.2
_END_WITHIN_S = 5.0
_LAST_LINES = 8
_MOST_LINE_BYTES = 65536


class _Process(subprocess.Popen[bytes]):
    """Has its three pipes."""

    stdin: IO[bytes]
    stdout: IO[bytes]
    stderr: IO[bytes]


class BuildStoppedError(EngineError):
    """The build was given up because somebody asked for it."""


def build_plan(
    request: Request,
    *,
    on_stage: Callable[[Stage], None],
    stopped: Callable[[], bool] = bool,
    within_s: float = BUILD_WITHIN_S,
) -> tuple[Plan, bool]:
    """Build a plan, or wait for another process that builds it; blocks for minutes.

    To be called in a thread that lives as long as this takes: the kernel ends the builder with it.

    Args:
        request: what to build and where to put it.
        on_stage: told how far it is, in the calling thread, about twice a second.
        stopped: asked five times a second whether to give up.
        within_s: longest time for all of it; the wait for another builder does not count.

    Returns:
        The plan, and whether this call made it.

    Raises:
        BuildStoppedError: `stopped` said so.
        EngineError: there is no plan: TensorRT's reason, the folder's, or how the builder ended.
    """
    last = Stage(stage="starting")

    def on_line(said: Stage) -> None:
        nonlocal last
        last = said
        on_stage(said)

    process = _spawned(request.device)
    errors = _LastLines(process)
    try:
        end = _listen(process, request, on_line, stopped, within_s)
        _let_end(process)
    finally:
        process.kill()  # no news to one that has ended
        process.wait()
        errors.join()
        for pipe in (process.stdin, process.stdout):
            with suppress(OSError):
                pipe.close()
    if isinstance(end, Failed):
        raise EngineError(end.reason)
    if end is None:
        msg = (
            f"the builder of {request.key.what} {_ending(process.returncode)} while "
            f"{last.stage} ({last.percent:.0f} %){errors.text}"
        )
        raise EngineError(msg)
    found = Plans(request.plans, max_bytes=request.max_bytes).find(request.key)
    if found.state != "fits" or found.plan is None:
        msg = f"the plan of {request.key.what} was built, and is not there: {found.detail}"
        raise EngineError(msg)
    return found.plan, end.made


def _spawned(device: int) -> _Process:
    try:
        return _Process(
            [sys.executable, "-P", "-m", BUILDER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # TensorRT builds on the first GPU that it sees.
            env=child_environment(only_gpu=device),
        )
    except OSError as error:
        msg = f"no builder can be started: {error.strerror}"
        raise EngineError(msg) from error


def _listen(
    process: _Process,
    request: Request,
    on_stage: Callable[[Stage], None],
    stopped: Callable[[], bool],
    within_s: float,
) -> Done | Failed | None:
    """What the builder says at its end; None where it ends without a word."""
    with suppress(BrokenPipeError):  # how it ended is told below
        process.stdin.write(request.model_dump_json().encode() + b"\n")
        process.stdin.flush()
    rest = b""
    deadline = time.monotonic() + within_s
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            if stopped():
                msg = f"the build of the plan of {request.key.what} was given up"
                raise BuildStoppedError(msg)
            if time.monotonic() > deadline:
                msg = f"no plan of {request.key.what} within {within_s:g} s; the builder is ended"
                raise EngineError(msg)
            if not selector.select(_TURN_S):
                continue
            got = os.read(process.stdout.fileno(), _MOST_LINE_BYTES)
            if not got:
                return None
            *lines, rest = (rest + got).split(b"\n")
            for line in lines:
                said = _understood(line)
                if isinstance(said, Stage):
                    if said.stage == "waiting":
                        deadline = time.monotonic() + within_s
                    on_stage(said)
                else:
                    return said
            if len(rest) > _MOST_LINE_BYTES:
                _understood(rest)


def _understood(line: bytes) -> Stage | Done | Failed:
    try:
        return Said.model_validate_json(b'{"line":' + line + b"}").line
    except ValidationError as error:
        msg = f"the builder says what is no line of a builder: {line[:200]!r}"
        raise EngineError(msg) from error


def _let_end(process: _Process) -> None:
    """Wait for one that has said its last line, so that it ends as it wants to."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(_END_WITHIN_S)


def _ending(code: int) -> str:
    if code >= 0:
        return f"ended with status {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"was killed by {name}"


class _LastLines:
    """Reads a builder's standard error to its end; keeps what it said last."""

    def __init__(self, process: _Process) -> None:
        self._lines: deque[str] = deque(maxlen=_LAST_LINES)
        self._pipe = process.stderr
        self._thread = threading.Thread(target=self._read, name="builder-errors", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with self._pipe as pipe:
            while line := pipe.readline(_MOST_LINE_BYTES):
                self._lines.append(line.decode(errors="replace").strip())

    def join(self) -> None:
        """Wait until the pipe has ended."""
        self._thread.join(_END_WITHIN_S)

    @property
    def text(self) -> str:
        """What to add to a message."""
        said = "; ".join(line for line in self._lines if line)
        return f"; its last words: {said}" if said else ""
