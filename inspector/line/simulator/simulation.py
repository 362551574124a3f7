"""A PLC in a thread: the program in its cycle, and the Modbus server around it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from inspector.line.registers import Answer, PlcBlock, StationBlock, Status
from inspector.line.simulator.faults import Kind
from inspector.line.simulator.program import Happening, Program
from inspector.line.simulator.record import Record
from inspector.line.simulator.server import PlcServer, Registers

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path
    from typing import Self

    from inspector.line.registers import Control, Layout
    from inspector.line.simulator.faults import Plan
    from inspector.line.simulator.program import Settings

SCAN_S = 0.002
"""Pause between two scans of the program, as quick PLCs have it."""
LAST_HAPPENINGS = 200
"""Kept for those who look on."""
SLOW_SCAN_S = 0.1
"""A scan that came so late is written down: the machine was busy, and times say nothing."""


@dataclass(frozen=True, slots=True)
class View:
    """What one sees of the simulator at a moment.

    Attributes:
        happenings: the last ones, oldest first.
    """

    at_s: float
    connections: int
    station: StationBlock
    plc: PlcBlock
    cameras: Mapping[str, tuple[Status, Answer, Control]]
    happenings: tuple[Happening, ...]


class PlcSimulator:
    """Plays the PLC. `start` and `stop` belong to one thread, everything else to any.

    Args:
        layout: where the registers lie.
        settings: the line and its program.
        plan: faults to be made on purpose.
        unannounced: cameras whose parts the program does not announce.
        host, port, unit: as `PlcServer`.
        record: file for the transitions.
        on_happening: called with each, in the simulator's thread.
    """

    def __init__(
        self,
        layout: Layout,
        settings: Settings,
        plan: Plan,
        *,
        unannounced: Collection[str] = (),
        host: str = "127.0.0.1",
        port: int = 0,
        unit: int = 1,
        record: Path | None = None,
        on_happening: Callable[[Happening], None] | None = None,
    ) -> None:
        self.program = Program(
            settings, {name: name not in unannounced for name in layout.cameras}, plan
        )
        self.host, self.port = host, port
        self._plan = plan
        self._fault_s = settings.fault_s
        self._on_happening = on_happening
        self._begun_utc, self._begun_s = datetime.now(UTC), time.monotonic()
        self._record = Record(record, self._begun_utc)
        self._registers = Registers(layout)
        self._server = PlcServer(
            self._registers,
            host=host,
            port=port,
            unit=unit,
            on_connection=self._on_connection,
            on_foreign_write=self._on_foreign_write,
        )
        self._connections = 0
        self._told: tuple[PlcBlock, Mapping[str, Control]] = (PlcBlock(), {})
        self._heard = StationBlock()
        self._last: deque[Happening] = deque(maxlen=LAST_HAPPENINGS)
        self._asked: deque[Callable[[], None]] = deque()
        self._lock = threading.Lock()
        self._begun = threading.Event()
        self._stopping = threading.Event()
        self._ended = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="plc", daemon=True)

    def start(self) -> int:
        """Listen and begin to scan.

        Returns:
            The port.

        Raises:
            UserError: the address cannot be used.
        """
        self._thread.start()
        self._begun.wait()
        if self._failure is not None:
            self._thread.join()
            raise self._failure
        return self.port

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the program and close the connections; the record gets its summary. Idempotent."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Until all parts have left, or the PLC has ended; False when that takes longer.

        It goes on until `stop` even so, as PLCs do.
        """
        return self._ended.wait(timeout_s)

    def make(self, kind: Kind) -> None:
        """Make a fault: those of the connection at once, those of an answer at the next one."""
        self._asked.append(lambda: self.program.make(kind))

    def press_reset(self) -> None:
        """Press the operator's reset."""
        self._asked.append(self.program.press_reset)

    def view(self) -> View:
        """What is seen now."""
        with self._lock:
            plc, told = self._told
            cameras = {}
            for name, control in told.items():
                with suppress(ValueError):
                    cameras[name] = (*self._registers.camera(name), control)
            return View(
                at_s=time.monotonic() - self._begun_s,
                connections=self._connections,
                station=self._heard,
                plc=plc,
                cameras=cameras,
                happenings=tuple(self._last),
            )

    def summary(self) -> dict[str, Any]:
        """What became of the parts, as JSON-able data."""
        well, verdict = self.program.verdict()
        return {
            "well": well,
            "verdict": verdict,
            "seconds": round(time.monotonic() - self._begun_s, 3),
            "faults_made": {kind.value: count for kind, count in self._plan.made.items() if count},
            "cameras": {n: lane.tally.document() for n, lane in self.program.lanes.items()},
        }

    def utc(self, happening: Happening) -> datetime:
        """When it was, by the clock on the wall."""
        return self._begun_utc + timedelta(seconds=happening.at_s)

    # --- the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # raised by start, or told by the thread
            self._failure = error
            if self._begun.is_set():
                raise
        finally:
            self._begun.set()
            self._ended.set()
            self._record.end(self.summary())

    async def _serve(self) -> None:
        self.port = await self._server.start()
        self._note(Happening(self._now_s(), "listening", details={"port": self.port}))
        self._begun.set()
        try:
            last_s = self._now_s()
            while not self._stopping.is_set():
                now_s = self._now_s()
                if now_s - last_s > SLOW_SCAN_S:
                    self._note(Happening(now_s, "slow_scan", details={"took_s": now_s - last_s}))
                last_s = now_s
                self._scan(now_s)
                self._server.turn()
                if self.program.ended:
                    self._ended.set()
                await asyncio.sleep(SCAN_S)
        finally:
            self._note(Happening(self._now_s(), "stopped"))
            await self._server.stop()

    def _scan(self, now_s: float) -> None:
        while self._asked:
            self._asked.popleft()()
        with self._lock:
            try:
                self._heard = self._registers.station()
                cameras = {name: self._registers.camera(name) for name in self.program.lanes}
            except ValueError as error:
                # A PLC compares with constants: what it does not know is as if nothing came.
                self._note(Happening(now_s, "strange_registers", details={"fault": str(error)}))
                return
            told = self.program.scan(now_s, self._heard, cameras)
            self._told = told.plc, told.cameras
            self._registers.tell(*self._told)
        for happening in told.happenings:
            self._note(happening)
            if happening.what == "fault":
                self._break(Kind(str(happening.details["kind"])))

    def _break(self, kind: Kind) -> None:
        if kind is Kind.DROP_CONNECTION:
            self._server.drop_connections(self._fault_s)
        elif kind is Kind.SILENT:
            self._server.be_silent(self._fault_s)
        elif kind is Kind.EXCEPTION:
            self._server.fail(self._fault_s)

    def _on_connection(self, came: bool) -> None:
        self._connections += 1 if came else -1
        details = {"connections": self._connections}
        self._note(
            Happening(self._now_s(), "connected" if came else "disconnected", details=details)
        )

    def _on_foreign_write(self, address: int, values: list[int]) -> None:
        details = {"address": address, "values": values}
        self._note(Happening(self._now_s(), "foreign_write", details=details))

    def _note(self, happening: Happening) -> None:
        self._last.append(happening)
        self._record.write(happening)
        if self._on_happening is not None:
            self._on_happening(happening)

    def _now_s(self) -> float:
        return time.monotonic() - self._begun_s
