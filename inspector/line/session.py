"""The one long-lived Modbus session with the PLC, in a thread of its own.

It reads what the PLC says, lets the handshakes go on, writes what changed, and counts the
heartbeat; after an error it connects anew, for ever. Nobody else touches registers or handshakes:
whoever has something to say leaves it in the inbox, and is never held up.

    state        heartbeat   the PLC sees
    connecting   stands      nothing, or what an earlier life left: stale, as the heartbeat stands
    connected    counts      the blocks as the handshakes want them
    away         stands      the last that was written; alarm `plc_away`, or `bad_answer` where it
                             refuses registers
    closed       stands      serving 0, ready 0, busy 0, valid 0; the last that was written, where
                             the registers may be another process's by now (`lease.py`)

The sequence goes on over a restart of the station from what stands in the PLC's own registers,
which are read when the session begins: the PLC compares with those, no disk is asked, and a PLC
that lost its registers has forgotten the last sequence, too.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

import structlog

from inspector.config.line import PLC_REGISTERS, STATION_REGISTERS
from inspector.errors import LineError
from inspector.line.blocks import SAY_AGAIN_S, CameraBlocks
from inspector.line.modbus import NotOursError, Plc
from inspector.line.parts import Connected, Faults
from inspector.line.registers import (
    CONTROL_REGISTERS,
    Control,
    PlcBlock,
    Safe,
    StationBlock,
    next_count,
)
from inspector.line.spans import read_spans, spans_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from inspector.config.line import Line
    from inspector.line.handshake import Handshake
    from inspector.line.lease import Lease
    from inspector.line.parts import Event
    from inspector.line.registers import Layout

IDLE_POLL_S = 0.05
"""Between two readings while nothing is awaited of the PLC but a reset."""
RETRY_S = (0.2, 5.0)
"""Pause before the next connection: the first, and the longest; each is twice the one before."""
LAST_WORDS_S = 2.0
"""Longest wait for the thread's end, beyond what was asked for."""

State = Literal["connecting", "connected", "away", "closed"]

_log = structlog.get_logger("inspector.line")


@dataclass(frozen=True, slots=True)
class Standing:
    """How the station stands, for its block.

    Attributes:
        serving: results come; so it is until the last part on its way is answered.
        accepting: new parts are taken.
    """

    serving: bool
    degraded: bool = False
    accepting: bool = True


class Session:
    """The session. `start` and `stop` by one thread, `post` by any.

    Args:
        line: section of the station file.
        layout: where the registers lie.
        handshakes: of each camera; the session's own once it is started.
        observing: the station's mode, for its block.
        standing: how the station is; asked every turn, must return at once.
        accepts: whether the station takes parts of a camera now; the same.
        on_event: told by the session's thread what happened; with a camera, or None where it is
            the line's as a whole. Must return at once.
        lease: how long the registers are ours; None: for ever.
    """

    def __init__(
        self,
        line: Line,
        layout: Layout,
        handshakes: Mapping[str, Handshake],
        *,
        observing: bool,
        standing: Callable[[], Standing],
        accepts: Callable[[str], bool],
        on_event: Callable[[str | None, Event], None],
        lease: Lease | None = None,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._line = line
        self._layout = layout
        self._handshakes = handshakes
        self._observing = observing
        self._standing = standing
        self._accepts = accepts
        self._on_event = on_event
        self._lease = lease
        self._clock_ns = clock_ns
        self.state: State = "connecting"
        self.detail: str | None = None
        self.since = datetime.now(UTC)
        self.heartbeat = 0
        self.safe = Safe.NORMAL
        self.faults = Faults()
        may_write = (lambda: True) if lease is None else lease.holds
        self._plc = Plc(line.modbus, self._meanwhile, may_write)
        self._blocks = CameraBlocks(self._plc, layout, handshakes, clock_ns)
        controls = [(layout.control(name), CONTROL_REGISTERS) for name in layout.cameras]
        self._theirs = spans_of([(layout.plc, PLC_REGISTERS), *controls])
        self._inbox: deque[Callable[[], None]] = deque()
        self._wake = threading.Event()
        self._stop_at_ns: int | None = None
        self._said: tuple[str, float] = ("", 0.0)
        self._block: StationBlock | None = None
        self._plc_block = PlcBlock()
        self._heard_ns = self._plc_changed_ns = self._beat_ns = self._turned_ns = 0
        self._dialling = False
        self._thread = threading.Thread(target=self._run, name="line", daemon=True)

    def start(self) -> None:
        """Begin; the PLC may come later."""
        self._turned_ns = self._clock_ns()
        self._thread.start()

    def stop(self, within_s: float) -> None:
        """Lower everything and close. Idempotent.

        Args:
            within_s: how long parts that are on their way may take.
        """
        if self._stop_at_ns is None:
            self._stop_at_ns = self._clock_ns() + round(within_s * 1e9)
        self._wake.set()
        if self._thread.ident is not None:
            # The last words, and an attempt to connect that hangs, may take a timeout more.
            self._thread.join(within_s + min(2 * self._line.modbus.timeout_ms / 1e3, LAST_WORDS_S))

    def post(self, job: Callable[[], None]) -> None:
        """Have something done by the session's thread, soon. Takes microseconds."""
        self._inbox.append(job)
        self._wake.set()

    @property
    def backlog(self) -> int:
        """Jobs that the session has not come to."""
        return len(self._inbox)

    @property
    def address(self) -> str:
        """Where the PLC is, for people."""
        return self._plc.address

    def progress_ns(self) -> int:
        """Monotonic time of the thread's last turn, for the watchdog; 0 before the first."""
        # A name that cannot be resolved may hold up a connection for longer than any loop may.
        at_rest = self._dialling or self.state == "closed"
        return self._clock_ns() if at_rest else self._turned_ns

    # -- the thread -------------------------------------------------------------------------------

    def _run(self) -> None:
        pause_s = RETRY_S[0]
        while not self._stop_due():
            try:
                self._connect()
                pause_s = RETRY_S[0]
                while not self._stop_due():
                    self._turn()
                self._leave()
            except NotOursError as error:
                _log.warning("the PLC is left without a word", reason=str(error))
                break
            except LineError as error:
                self._lose(error)
                self._wait(pause_s)
                pause_s = min(2 * pause_s, RETRY_S[1])
            except Exception:  # noqa: BLE001 - the edge of the thread: without it no part is told
                _log.exception("the line's session failed")
                self._lose(LineError("plc_away", "a fault of the program; the log has its trace"))
                self._wait(RETRY_S[1])
        self._plc.close()
        for handshake in self._handshakes.values():
            handshake.close(self._clock_ns())
        self._tell()
        self._enter("closed", None)

    def _stop_due(self) -> bool:
        if self._lease is not None and self._lease.due():
            return True
        if self._stop_at_ns is None:
            return False
        idle = all(handshake.idle for handshake in self._handshakes.values())
        return (idle and not self._inbox) or self._clock_ns() >= self._stop_at_ns

    def _connect(self) -> None:
        """Connect, read all, write all; the heartbeat last, when everything holds."""
        self._dialling = True
        try:
            self._plc.open()
        finally:
            self._dialling = False
        self._forget()
        if not self.heartbeat:
            self.heartbeat = self._plc.read(self._layout.station, STATION_REGISTERS)[1]
        answers = self._blocks.answers()
        plc, controls = self._hear_all()
        now = self._clock_ns()
        self._plc_block, self._heard_ns, self._plc_changed_ns = plc, now, now
        self._gate()
        for name, handshake in self._handshakes.items():
            self._blocks.lower(name)
            handshake.connect(controls[name], answers[name], now)
        for cause in ("plc_away", "bad_answer"):
            for event in self.faults.end(cause, now):
                self._on_event(None, event)
        self._write()
        self._enter("connected", None)
        self._on_event(None, Connected())
        self._tell()

    def _turn(self) -> None:
        self._turned_ns = now = self._clock_ns()
        self._work()
        if now - self._heard_ns >= self._line.modbus.poll_ms * 1e6:
            self._hear()
        else:
            self._gate()
            for handshake in self._handshakes.values():
                handshake.turn(now)
        self._write()
        self._tell()
        attentive = any(handshake.attentive for handshake in self._handshakes.values())
        poll_s = self._line.modbus.poll_ms / 1e3
        next_ns = self._heard_ns + (poll_s if attentive else max(poll_s, IDLE_POLL_S)) * 1e9
        next_ns = min(next_ns, self._beat_ns + self._line.heartbeat_ms * 1e6)
        if not self._inbox:
            self._wake.wait(max(0.0, next_ns - self._clock_ns()) / 1e9)
        self._wake.clear()

    def _hear_all(self) -> tuple[PlcBlock, dict[str, Control]]:
        part, layout = read_spans(self._plc, self._theirs), self._layout
        controls = {
            name: Control.decode(part(layout.control(name), CONTROL_REGISTERS), layout.word_order)
            for name in layout.cameras
        }
        plc = PlcBlock.decode(part(layout.plc, PLC_REGISTERS))
        if plc.reset:  # that of all cameras
            controls = {name: replace(each, reset=True) for name, each in controls.items()}
        return plc, controls

    def _hear(self) -> None:
        plc, controls = self._hear_all()
        since_ns, now = self._heard_ns, self._clock_ns()
        before, self._plc_block, self._heard_ns = self._plc_block, plc, now
        if plc.heartbeat != before.heartbeat:
            self._plc_changed_ns = now
        self._mind_plc(now)
        self._gate()
        for name, handshake in self._handshakes.items():
            handshake.hear(controls[name], since_ns, now)

    def _mind_plc(self, now: int) -> None:
        """Watch the PLC's heartbeat, where the station file asks for it."""
        within_ms = self._line.plc_heartbeat_within_ms
        if within_ms is None:
            return
        if now - self._plc_changed_ns <= within_ms * 1e6:
            events = self.faults.end("plc_silent", now)
        else:
            detail = (
                f"the PLC answers, but its heartbeat has not changed within {within_ms:g} ms "
                "(plc_heartbeat_within_ms); look whether its program runs"
            )
            events = self.faults.begin("plc_silent", detail, now)
        for event in events:
            self._on_event(None, event)

    def _gate(self) -> None:
        """Whether parts are taken now, camera by camera."""
        standing = self._standing()
        able = (
            self._stop_at_ns is None
            and "plc_silent" not in self.faults.open
            and standing.serving
            and standing.accepting
        )
        for name, handshake in self._handshakes.items():
            handshake.accepting = able and self._accepts(name)

    def _work(self) -> None:
        while self._inbox:
            self._inbox.popleft()()

    def _meanwhile(self) -> None:
        """While the PLC lets us wait: deadlines pass, and alarms are due, all the same."""
        self._turned_ns = now = self._clock_ns()
        self._work()
        for handshake in self._handshakes.values():
            handshake.turn(now)
        self._tell()

    def _tell(self) -> None:
        for name, handshake in self._handshakes.items():
            for event in handshake.take():
                self._on_event(name, event)

    # -- writing ----------------------------------------------------------------------------------

    def _write(self) -> None:
        self._write_station()
        self._blocks.write()

    def _write_station(self, *, serving: bool | None = None) -> None:
        now = self._clock_ns()
        due = now - self._beat_ns >= self._line.heartbeat_ms * 1e6
        fault = any(handshake.faults for handshake in self._handshakes.values())
        fail_safe = Safe.REJECT if self._line.fail_safe == "reject" else Safe.STOP
        held = fault or "plc_silent" in self.faults.open
        self.safe = fail_safe if held and not self._observing else Safe.NORMAL
        standing = self._standing()
        block = StationBlock(
            heartbeat=next_count(self.heartbeat) if due else self.heartbeat,
            serving=standing.serving if serving is None else serving,
            degraded=standing.degraded,
            observing=self._observing,
            fault=fault,
            safe=self.safe,
            cameras=len(self._handshakes),
        )
        if due and self._block is not None and serving is None:
            self._blocks.read_back()  # with each heartbeat
        if block != self._block:
            self._plc.write(self._layout.station, block.encode())
            self._block, self.heartbeat = block, block.heartbeat
            if due:
                self._beat_ns = now

    def _leave(self) -> None:
        """The last words: nothing is ready, nothing valid, nobody serves."""
        for name, handshake in self._handshakes.items():
            self._blocks.lower(name, fault=bool(handshake.faults))
        self._write_station(serving=False)

    # -- without a connection ---------------------------------------------------------------------

    def _forget(self) -> None:
        self._blocks.forget()
        self._block = None
        self._plc_block = PlcBlock()
        self._heard_ns = self._plc_changed_ns = self._beat_ns = 0

    def _lose(self, error: LineError) -> None:
        self._plc.close()
        now = self._clock_ns()
        for handshake in self._handshakes.values():
            handshake.lose()
        for event in self.faults.begin(error.cause, str(error), now):
            self._on_event(None, event)
            self._said = (str(error), time.monotonic())  # the fault is in the log
        self._enter("away", str(error))

    def _enter(self, state: State, detail: str | None) -> None:
        if state != self.state:
            self.since = datetime.now(UTC)
        new = state != self.state
        self.state, self.detail = state, detail
        if state == "away":
            said, when = self._said
            if detail != said or time.monotonic() > when + SAY_AGAIN_S:
                self._said = (detail or "", time.monotonic())
                _log.warning("the PLC is away", detail=detail)
        elif new and state == "connected":
            self._said = ("", 0.0)
            _log.info("connected to the PLC", address=self.address)

    def _wait(self, seconds: float) -> None:
        """Let time go by without a connection."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self._stop_due():
            self._wake.wait(min(left, IDLE_POLL_S))
            self._wake.clear()
            self._meanwhile()
