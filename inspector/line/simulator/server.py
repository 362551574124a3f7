"""The PLC's Modbus TCP server: holding registers that two sides share. For one event loop."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from inspector.config.line import CAMERA_REGISTERS, PLC_REGISTERS, STATION_REGISTERS
from inspector.errors import UserError
from inspector.line.registers import ANSWER_REGISTERS, Answer, StationBlock, Status
from inspector.line.registers import CONTROL_AT as PLC_PART

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from inspector.line.registers import Control, Layout, PlcBlock

PAST_THE_MAP = 8
"""Registers after the last block, so that a reader may round up."""


class Registers:
    """The holding registers, and who may write which: the station all but what the PLC tells."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self.values = [0] * (layout.length + PAST_THE_MAP)
        own = [range(layout.plc, layout.plc + PLC_REGISTERS)]
        own += [range(at + PLC_PART, at + CAMERA_REGISTERS) for at in layout.cameras.values()]
        self._own = frozenset(address for block in own for address in block)

    def belongs_to_plc(self, first: int, count: int) -> bool:
        """Whether a write would reach what only the PLC writes."""
        return not self._own.isdisjoint(range(first, first + count))

    def station(self) -> StationBlock:
        """What the station says of itself. Raises ValueError: nothing that the map knows."""
        at = self._layout.station
        return StationBlock.decode(self.values[at : at + STATION_REGISTERS])

    def camera(self, name: str) -> tuple[Status, Answer]:
        """What the station says of a camera. Raises ValueError: nothing that the map knows."""
        at, answer_at = self._layout.status(name), self._layout.answer(name)
        answer = self.values[answer_at : answer_at + ANSWER_REGISTERS]
        return Status.decode(self.values[at : at + 1]), Answer.decode(
            answer, self._layout.word_order
        )

    def tell(self, plc: PlcBlock, cameras: Mapping[str, Control]) -> None:
        """Write what the PLC says."""
        self._put(self._layout.plc, plc.encode())
        for name, control in cameras.items():
            self._put(self._layout.control(name), control.encode(self._layout.word_order))

    def _put(self, at: int, values: tuple[int, ...]) -> None:
        self.values[at : at + len(values)] = values


class PlcServer:
    """Serves the registers over Modbus TCP.

    Args:
        host, port: where to listen; port 0 takes a free one.
        unit: the only unit identifier that is answered.
        on_connection: called with True or False when a client comes or goes.
        on_foreign_write: called with address and values that the station had no right to write.
    """

    def __init__(
        self,
        registers: Registers,
        *,
        host: str,
        port: int,
        unit: int,
        on_connection: Callable[[bool], None],
        on_foreign_write: Callable[[int, list[int]], None],
    ) -> None:
        self._registers = registers
        self._address = (host, port)
        self._unit = unit
        self._on_connection = on_connection
        self._on_foreign_write = on_foreign_write
        self._server: ModbusTcpServer | None = None
        self._dropping_until_s = 0.0
        self._silent_until_s = 0.0
        self._failing_until_s = 0.0

    async def start(self) -> int:
        """Listen.

        Returns:
            The port.

        Raises:
            UserError: the address cannot be used.
        """
        everything = SimData(0, count=len(self._registers.values), datatype=DataType.REGISTERS)
        device = SimDevice(self._unit, [everything], action=self._on_request)
        self._server = ModbusTcpServer(
            device, address=self._address, trace_connect=self._on_connection
        )
        try:
            await self._server.serve_forever(background=True)
        except RuntimeError:
            host, port = self._address
            msg = (
                f"the simulator cannot listen on {host}:{port}; is the port taken, or below 1024"
                " without the right to it? Give another with --port (0 takes a free one)"
            )
            raise UserError(msg) from None
        listening: Any = self._server.transport  # an asyncio.Server, whatever its annotation says
        return int(listening.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Close all connections and listen no more."""
        if self._server is not None:
            await self._server.shutdown()  # type: ignore[no-untyped-call]

    def drop_connections(self, seconds: float) -> None:
        """Break off what is open, and whoever comes for so long."""
        self._dropping_until_s = time.monotonic() + seconds
        self.turn()

    def turn(self) -> None:
        """To be called often: new connections fall while they are to."""
        if self._server is None or time.monotonic() > self._dropping_until_s:
            return
        for connection in tuple(self._server.active_connections.values()):
            transport: Any = connection.transport
            if transport is not None:
                transport.abort()

    def be_silent(self, seconds: float) -> None:
        """Take requests and answer none."""
        self._silent_until_s = time.monotonic() + seconds

    def fail(self, seconds: float) -> None:
        """Answer each request with a Modbus exception (device failure)."""
        self._failing_until_s = time.monotonic() + seconds

    async def _on_request(
        self,
        function: int,
        start: int,
        address: int,
        count: int,
        registers: list[int],
        values: list[int] | list[bool] | None,
    ) -> ExcCodes | None:
        """What the library asks before each request: `registers` is its copy from `start` on."""
        del function
        if (silent_s := self._silent_until_s - time.monotonic()) > 0:
            await asyncio.sleep(silent_s)
            return ExcCodes.DEVICE_BUSY  # nobody waits for it any longer, and nothing is done
        if self._failing_until_s > time.monotonic():
            return ExcCodes.DEVICE_FAILURE
        own = self._registers.values
        if values is None:
            registers[address - start : address - start + count] = own[address : address + count]
            return None
        written = [int(value) for value in values]
        if self._registers.belongs_to_plc(address, len(written)):
            self._on_foreign_write(address, written)
            return ExcCodes.ILLEGAL_ADDRESS
        own[address : address + len(written)] = written
        return None
