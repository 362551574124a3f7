"""An engine in a process of its own: a crash or a hang there costs that process, not the station.

`EngineProcess` follows `Runtime`. Tiles go over as references; the engine process maps the same
rings. One thread here listens, and is the only one that decides that the process is lost.
"""

from __future__ import annotations

import pickle
import select
import subprocess
import sys
import threading
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from inspector.engine.child_environment import child_environment
from inspector.engine.process import wire
from inspector.engine.process.limits import Limits
from inspector.errors import EngineError, EngineLostError
from inspector.verdict import EngineInfo

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from inspector.engine.process.spec import RuntimeSpec
    from inspector.engine.runtime import TileRef
    from inspector.slots import Ring

_TURN_S = 0.05
_IN_FLIGHT = 3
"""Batches with the process: one is computed, one is cut, one is at the door."""
_LAST_WORDS_S = 0.25
"""So long a process whose connection ended may take to tell how it ended."""

# The kernel ends a child together with the thread that made it: this one lives as long as we do.
_spawner = ThreadPoolExecutor(1, thread_name_prefix="engine-spawner")


class _Batch:
    def __init__(self, tiles: int) -> None:
        self.tiles = tiles
        self.future: Future[NDArray[np.float32]] = Future()


class EngineProcess:
    """A runtime that runs in a spawned process; follows `Runtime`. Any thread.

    Made when the runtime over there is warm. Once it is lost it stays lost: what was in flight and
    what is submitted later fails with `EngineLostError`, within the limits.

    Raises:
        EngineError: it could not be started, or the runtime there could not be opened.
    """

    def __init__(self, spec: RuntimeSpec, *, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._answer_s = self._limits.start_s  # until told: the first batches warm it up
        self._sending = threading.Lock()  # nobody sends by a descriptor that was closed meanwhile
        self._lock = threading.Lock()  # guards all below
        self._waiting: dict[int, _Batch] = {}
        self._beats = 0  # since the oldest batch's turn began
        self._number = 0
        self._keys: set[str] = set()
        self._why: str | None = None
        self._closed = False
        self._listeners: list[Callable[[str], None]] = []
        self._room = threading.Semaphore(_IN_FLIGHT)
        self._opened: Future[tuple[EngineInfo, int]] = Future()
        self._name = "the engine process"
        try:
            self._process, self._end = _spawner.submit(_spawn).result()
        except OSError as error:
            msg = f"no engine process can be started: {error.strerror}"
            raise EngineError(msg) from error
        self._listener = threading.Thread(target=self._listen, name="engine-process", daemon=True)
        self._listener.start()
        self._tell({"t": "open"}, pickle.dumps(spec))
        try:
            self._info, self._max_batch = self._opened.result(self._limits.start_s)
        except TimeoutError:
            why = f"it was not ready within {self._limits.start_s:g} s"
            self._lose(why)
            msg = f"{self._name}: {why}"
            raise EngineError(msg) from None
        except BaseException:
            self._lose("it could not be opened")
            raise
        self._name = f"engine {self._info.name} on {self._info.runtime} in a process of its own"

    @property
    def info(self) -> EngineInfo:
        """Which engine, runtime and precision it runs."""
        return self._info

    @property
    def max_batch(self) -> int:
        """Most tiles that one `submit` takes."""
        return self._max_batch

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def lost(self) -> str | None:
        """Why nothing is judged any more, or None."""
        return self._why

    def when_lost(self, call: Callable[[str], None]) -> None:
        """Have `call` told why, once it is lost, by the thread that notices; at once if it is."""
        with self._lock:
            why = self._why
            if why is None:
                self._listeners.append(call)
        if why is not None:
            call(why)

    def expect_answers_within(self, seconds: float) -> None:
        """How long a batch may take from now on, once its turn has come."""
        self._answer_s = seconds

    def map_ring(self, ring: Ring) -> None:
        """Make a ring's slots readable over there."""
        with self._lock:
            self._keys.add(ring.key)
        facts = {"key": ring.key, "slots": ring.slots, "slot_bytes": ring.slot_bytes}
        self._tell({"t": "map", **facts}, fd=ring.fd)

    def unmap_ring(self, key: str) -> None:
        """Forget a ring. Messages keep their order, so batches in flight have it to the end."""
        with self._lock:
            known = key in self._keys
            self._keys.discard(key)
        if known:
            self._tell({"t": "unmap", "key": key})

    def submit(self, tiles: Sequence[TileRef]) -> Future[NDArray[np.float32]]:
        """Judge tiles; follows `Runtime.submit`. Blocks while three batches are in flight.

        Raises:
            ValueError: more than `max_batch` tiles, none, or a ring that was not mapped.
        """
        if not 1 <= len(tiles) <= self._max_batch:
            msg = f"{self._name} takes 1 to {self._max_batch} tiles, came {len(tiles)}"
            raise ValueError(msg)
        with self._lock:
            unknown = {ref.ring for ref in tiles} - self._keys
        if unknown and not self._closed:
            msg = f"{self._name}: ring {', '.join(sorted(unknown))} was not mapped"
            raise ValueError(msg)
        self._room.acquire()  # given back with the answer, or when the process is lost
        batch = _Batch(len(tiles))
        with self._lock:
            refused = self._refusal()
            if refused is None:
                if not self._waiting:
                    self._beats = 0
                self._number += 1
                number = self._number
                self._waiting[number] = batch
        if refused is not None:
            self._room.release()
            batch.future.set_exception(refused)
            return batch.future
        self._tell({"t": "judge", "id": number, "tiles": wire.pack(tiles)})
        return batch.future

    def _refusal(self) -> EngineError | None:
        """Under the lock."""
        if self._closed:
            return EngineError(f"{self._name}: it is closed")
        if self._why is not None:
            return EngineLostError(f"{self._name}: {self._why}")
        return None

    def close(self) -> None:
        """Let it finish what is in flight, then end it; within `close_s`. Idempotent."""
        with self._lock:
            first, self._closed = not self._closed, True
        if first:
            self._tell({"t": "stop"})
        self._listener.join(self._limits.close_s)
        if self._listener.is_alive():
            self._lose(f"it did not end within {self._limits.close_s:g} s")
            self._listener.join(self._limits.close_s)

    def _tell(self, head: wire.Head, body: bytes = b"", *, fd: int | None = None) -> None:
        try:
            with self._sending:
                wire.send(self._end, head, body, fd=fd, wait=False)
        except BlockingIOError:
            self._lose("it does not read what it is told")
        except OSError:
            pass  # its end is noticed where we listen

    # The listening thread.

    def _listen(self) -> None:
        poll = select.poll()
        poll.register(self._end, select.POLLIN)
        silent = 0
        while self._why is None:
            if not poll.poll(_TURN_S * 1e3):
                silent += 1
                if silent * _TURN_S >= self._limits.silence_s and self._opened.done():
                    self._lose(f"no sign of life for {self._limits.silence_s:g} s")
                continue
            silent = 0
            try:
                got = wire.receive(self._end)
                if got is None:
                    break
                self._take(got[0], got[1])
            except OSError:
                break
            except Exception as error:  # noqa: BLE001 - a broken process may send anything
                self._lose(f"what it answers is nonsense: {error}")
        self._at_end()

    def _take(self, head: wire.Head, body: bytes) -> None:
        kind = head["t"]
        if kind == "beat":
            self._check_answer()
        elif kind == "rows":
            rows = np.frombuffer(body, np.float32).reshape(head["shape"]).copy()
            batch = self._taken(head["id"], len(rows))
            batch.future.set_result(rows)
        elif kind == "error":
            batch = self._taken(head["id"])
            batch.future.set_exception(EngineError(f"{self._name}: {head['detail']}"))
        elif kind == "lost":
            self._lose(str(head["detail"]))
        elif kind == "failed":
            self._opened.set_exception(EngineError(str(head["detail"])))
        elif kind == "ready":
            self._opened.set_result((EngineInfo(**head["info"]), int(head["max_batch"])))
        else:
            msg = f"a message {kind!r}"
            raise ValueError(msg)

    def _taken(self, number: int, rows: int | None = None) -> _Batch:
        """The batch of that number, which is answered now."""
        with self._lock:
            batch = self._waiting.get(number)
            if batch is None or rows not in {None, batch.tiles}:
                wanted = "one that was asked for" if batch is None else f"{batch.tiles} rows"
                msg = f"{rows} rows for batch {number}, expected {wanted}"
                raise ValueError(msg)
            del self._waiting[number]
            self._beats = 0
        self._room.release()
        return batch

    def _check_answer(self) -> None:
        with self._lock:
            self._beats += 1
            late = bool(self._waiting) and self._beats * wire.BEAT_S > self._answer_s
        if late:
            self._lose(f"no answer within {self._answer_s:g} s")

    def _at_end(self) -> None:
        """The connection is over: say why, fail what waits, leave nothing behind."""
        if self._why is None:
            how = _how_it_ended(self._process, _LAST_WORDS_S)
            self._lose(how)
        with self._sending:
            self._end.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(self._limits.close_s)

    def _lose(self, why: str) -> None:
        """Any thread. Once: nothing is judged from here on."""
        with self._lock:
            if self._why is not None:
                return
            self._why = why
            waiting, self._waiting = list(self._waiting.values()), {}
            listeners, self._listeners = self._listeners, []
            told = not self._closed
        self._process.kill()
        error = EngineLostError(f"{self._name}: {why}")
        with suppress(InvalidStateError):  # it was opened before
            self._opened.set_exception(EngineError(f"{self._name}: {why}"))
        for call in listeners if told else ():
            call(why)
        for batch in waiting:
            self._room.release()
            batch.future.set_exception(error)


def _how_it_ended(process: subprocess.Popen[bytes], wait_s: float) -> str:
    try:
        code = process.wait(wait_s)
    except subprocess.TimeoutExpired:
        return "it closed its connection"
    return f"it was killed by signal {-code}" if code < 0 else f"it ended with status {code}"


def _spawn() -> tuple[subprocess.Popen[bytes], socket.socket]:
    ours, theirs = wire.pair()
    try:
        with theirs:
            process = subprocess.Popen(  # noqa: S603 - our own module
                [
                    sys.executable,
                    "-P",
                    "-m",
                    "inspector.engine.process.child",
                    str(theirs.fileno()),
                ],
                pass_fds=(theirs.fileno(),),
                env=child_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
    except BaseException:
        ours.close()
        raise
    return process, ours
