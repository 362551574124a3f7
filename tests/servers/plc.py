"""A real Modbus TCP server whose registers the test moves by hand: no PLC program runs in it."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from inspector.line.registers import (
    ANSWER_AT,
    ANSWER_REGISTERS,
    CONTROL_AT,
    Answer,
    Control,
    PlcBlock,
    StationBlock,
    Status,
)
from tests.servers.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable

    from pymodbus.constants import ExcCodes

SIZE = 400
WITHIN_S = 60.0
STATION_AT, PLC_AT, CAMERAS_AT, STEP = 0, 16, 32, 32
"""The station file's defaults."""


@dataclass(frozen=True)
class Write:
    """What the station wrote, and when the server took it (monotonic)."""

    at_ns: int
    address: int
    values: tuple[int, ...]


class PlcServer:
    """The server, in a thread of its own. Faults are attributes, to be set at any time.

    Attributes:
        registers: what it holds; they outlive a `stop` and `start`.
        writes: everything that was written to it, in order.
        connections: how many were made.
        open: how many there are.
        silent: takes requests and gives no answer.
        delay_s: pause before each answer.
        refuses, refuses_writes: an exception instead of each answer, or of those to writes.
        hangs_up_at: closes the connection when this register is written, before the answer; once.
    """

    def __init__(self) -> None:
        self.registers = [0] * SIZE
        self.writes: list[Write] = []
        self.connections = self.open = 0
        self.silent = False
        self.delay_s = 0.0
        self.refuses: ExcCodes | None = None
        self.refuses_writes: ExcCodes | None = None
        self.hangs_up_at: int | None = None
        self.port = free_port()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: ModbusTcpServer | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> Self:
        """Listen, on the same port as before."""
        up = threading.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(up)), name="plc", daemon=True
        )
        self._thread.start()
        assert up.wait(WITHIN_S), "the Modbus server does not listen"
        return self

    def stop(self) -> None:
        """End the server and its connections. Idempotent."""
        if self._loop is None or self._thread is None:
            return
        loop, self._loop = self._loop, None
        loop.call_soon_threadsafe(self._over.set)
        self._thread.join(WITHIN_S)

    def hang_up(self) -> None:
        """Close all connections; the server goes on listening."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._close_connections)

    # -- the PLC's side -------------------------------------------------------------------------

    def says(self, camera: int = 0, **bits: Any) -> None:
        """Write what the PLC says to a camera, by its index."""
        self._put(CAMERAS_AT + STEP * camera + CONTROL_AT, Control(**bits).encode())

    def says_itself(self, **bits: Any) -> None:
        """Write the PLC's own block."""
        self._put(PLC_AT, PlcBlock(**bits).encode())

    @property
    def station(self) -> StationBlock:
        return StationBlock.decode(self.registers[STATION_AT : STATION_AT + 5])

    def status(self, camera: int = 0) -> Status:
        at = CAMERAS_AT + STEP * camera
        return Status.decode(self.registers[at : at + 1])

    def answer(self, camera: int = 0) -> Answer:
        at = CAMERAS_AT + STEP * camera + ANSWER_AT
        return Answer.decode(self.registers[at : at + ANSWER_REGISTERS])

    def until(self, what: str, truth: Callable[[], Any], within_s: float = WITHIN_S) -> Any:
        """Wait until `truth` gives something, and return it."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            if got := truth():
                return got
            time.sleep(0.002)
        msg = f"no {what} within {within_s} s; registers: {self.registers[:84]}"
        raise AssertionError(msg)

    def until_ready(self, camera: int = 0) -> None:
        self.until("ready", lambda: self.status(camera).ready)

    def until_valid(self, camera: int = 0) -> Answer:
        self.until("valid", lambda: self.status(camera).valid)
        return self.answer(camera)

    def acknowledge(self, camera: int = 0) -> Answer:
        """The second half of a handshake: waits for `valid`, and goes back to the beginning."""
        answer = self.until_valid(camera)
        self.says(camera, acknowledge=True, part=answer.part, sequence=answer.sequence)
        self.until("valid lowered", lambda: not self.status(camera).valid)
        self.says(camera)
        return answer

    def settle(self, camera: int = 0) -> None:
        """Acknowledge whatever is valid, a repeat too, until the station is ready."""

        def step() -> bool:
            status = self.status(camera)
            self.says(camera, acknowledge=status.valid)
            return status.ready

        self.until("ready", step)

    def part(self, number: int, camera: int = 0) -> Answer:
        """A whole handshake, as the PLC program of the manual does it."""
        self.until_ready(camera)
        self.says(camera, trigger=True, part=number)
        self.until("busy", lambda: not self.status(camera).ready)
        return self.acknowledge(camera)

    def raised(self, camera: int = 0) -> list[Answer]:
        """The answers over which `valid` was raised, in order."""
        at = CAMERAS_AT + STEP * camera
        registers, answers, was = [0] * SIZE, [], False
        for write in list(self.writes):
            registers[write.address : write.address + len(write.values)] = write.values
            valid = Status.decode(registers[at : at + 1]).valid
            answer = registers[at + ANSWER_AT : at + ANSWER_AT + ANSWER_REGISTERS]
            if valid and not was:
                answers.append(Answer.decode(answer))
            assert not (valid and was and Answer.decode(answer) != answers[-1]), (
                "an answer changed under valid"
            )
            was = valid
        return answers

    # -- the server -----------------------------------------------------------------------------

    def _put(self, address: int, values: tuple[int, ...]) -> None:
        self.registers[address : address + len(values)] = values

    async def _serve(self, up: threading.Event) -> None:
        self._over = asyncio.Event()

        async def action(
            _function: int,
            _start: int,
            address: int,
            count: int,
            held: list[int],
            new: list[int] | list[bool] | None,
        ) -> ExcCodes | None:
            return await self._request(address, count, held, new)

        device = SimDevice(1, SimData(0, count=SIZE, datatype=DataType.REGISTERS), action=action)
        self._server = ModbusTcpServer(
            device, address=("127.0.0.1", self.port), trace_connect=self._connected
        )
        await self._server.serve_forever(background=True)
        self._loop = asyncio.get_running_loop()
        up.set()
        await self._over.wait()
        await self._server.shutdown()

    def _connected(self, connected: bool) -> None:
        self.connections += connected
        self.open += 1 if connected else -1

    async def _request(
        self, address: int, count: int, held: list[int], new: list[int] | list[bool] | None
    ) -> ExcCodes | None:
        while self.silent:  # noqa: ASYNC110 - set from another thread
            await asyncio.sleep(0.01)
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        if self.refuses is not None:
            return self.refuses
        if new is None:
            held[:] = self.registers
            return None
        if self.refuses_writes is not None:
            return self.refuses_writes
        hangs_up = self.hangs_up_at is not None and (
            address <= self.hangs_up_at < address + len(new)
        )
        values = tuple(int(value) for value in new)
        self.writes.append(Write(time.monotonic_ns(), address, values))
        self._put(address, values)
        if hangs_up:
            self.hangs_up_at = None
            self._close_connections()
        return None

    def _close_connections(self) -> None:
        assert self._server is not None
        for connection in list(self._server.active_connections.values()):
            connection.close()
