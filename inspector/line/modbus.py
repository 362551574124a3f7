"""One connection to the PLC: registers read and written, each within its time, or an error.

`pymodbus` makes and reads the telegrams; waiting is done here. Its own waiting uses `select`, which
refuses descriptors from 1024 on (a station of many cameras has them), and lets nobody in meanwhile.
"""

from __future__ import annotations

import logging
import select
import socket
import struct
import time
from typing import TYPE_CHECKING

from pymodbus.client import ModbusTcpClient
from pymodbus.exceptions import ConnectionException, ModbusException

from inspector.errors import InspectorError, LineError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pymodbus.pdu import ModbusPDU

    from inspector.config.line import Modbus

SLICE_S = 0.02
"""While an answer is awaited the caller gets a word in so often."""

_MEANINGS = {
    1: "does not know this function (FC3 and FC16 are used)",
    2: "has no such registers",
    3: "refuses the length or the values",
    4: "failed",
    6: "is busy",
    10: "is behind a gateway that has no way to it",
    11: "is behind a gateway that gets no answer from it",
}


class NotOursError(InspectorError):
    """The registers may be another process's by now."""


class Plc:
    """The PLC at the other end. One thread.

    After an error the connection is closed: a late answer would pass for that of the next request.

    Args:
        at: where it is.
        meanwhile: called every `SLICE_S` while an answer is awaited.
        may_write: asked before each write.
    """

    def __init__(
        self,
        at: Modbus,
        meanwhile: Callable[[], None] = lambda: None,
        may_write: Callable[[], bool] = lambda: True,
    ) -> None:
        logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)  # told here, once
        self._at = at
        self._may_write = may_write
        self._client = _Client(at, meanwhile)
        self.round_trip_s = 0.0

    @property
    def address(self) -> str:
        """Where it is, for people."""
        return f"{self._at.host}:{self._at.port} unit {self._at.unit}"

    def open(self) -> None:
        """Connect. Raises LineError."""
        try:
            self._client.dial()
        except OSError as error:
            problem = "no answer in time" if isinstance(error, TimeoutError) else error.strerror
            raise LineError(
                "plc_away",
                f"no connection to the PLC at {self.address}: {problem or error}; look whether it "
                "runs and serves Modbus TCP there (line.modbus)",
            ) from error

    def close(self) -> None:
        """End the connection. Idempotent."""
        self._client.hang_up()

    def read(self, address: int, count: int) -> list[int]:
        """Read holding registers (FC3), at most 125. Raises LineError."""
        answer = self._ask(
            f"registers {address} to {address + count - 1} cannot be read",
            lambda: self._client.read_holding_registers(
                address, count=count, device_id=self._at.unit
            ),
        )
        if len(answer.registers) != count:
            self.close()
            msg = f"the PLC at {self.address} gave {len(answer.registers)} of {count} registers"
            raise LineError("bad_answer", msg)
        return list(answer.registers)

    def write(self, address: int, values: Sequence[int]) -> None:
        """Write holding registers (FC16), at most 123.

        Raises:
            LineError: the PLC did not take them.
            NotOursError: they may not be written by us any more.
        """
        if not self._may_write():
            self.close()
            msg = f"the registers of the PLC at {self.address} may be another's by now"
            raise NotOursError(msg)
        self._ask(
            f"registers {address} to {address + len(values) - 1} cannot be written",
            lambda: self._client.write_registers(address, list(values), device_id=self._at.unit),
        )

    def _ask(self, problem: str, request: Callable[[], ModbusPDU]) -> ModbusPDU:
        began = time.perf_counter()
        try:
            answer = request()
        except ConnectionException:
            self.close()
            msg = f"the connection to the PLC at {self.address} ended"
            raise LineError("plc_away", msg) from None
        except _SilentError:
            self.close()
            msg = (
                f"no answer of the PLC at {self.address} within {self._at.timeout_ms:g} ms "
                "(line.modbus.timeout_ms)"
            )
            raise LineError("plc_away", msg) from None
        except (ModbusException, OSError, ValueError, LookupError, struct.error) as error:
            self.close()
            msg = f"no sensible answer of the PLC at {self.address}: {error}"
            raise LineError("bad_answer", msg) from error
        self.round_trip_s = time.perf_counter() - began
        if answer.isError():
            self.close()
            code = getattr(answer, "exception_code", 0)
            meaning = _MEANINGS.get(code, "refuses")
            msg = (
                f"{problem}: the PLC at {self.address} {meaning} (Modbus exception {code}); look "
                "at its register map and at line.modbus"
            )
            raise LineError("bad_answer", msg)
        return answer


class _SilentError(Exception):
    """No answer in time."""


class _Client(ModbusTcpClient):
    """pymodbus' client with its waiting replaced."""

    def __init__(self, at: Modbus, meanwhile: Callable[[], None]) -> None:
        self._timeout_s = at.timeout_ms / 1e3
        super().__init__(at.host, port=at.port, timeout=self._timeout_s, retries=0)
        self._meanwhile = meanwhile

    def dial(self) -> None:
        """Connect. Raises OSError."""
        self.hang_up()
        address = (self.comm_params.host, self.comm_params.port)
        self.socket = socket.create_connection(address, timeout=self._timeout_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)

    def hang_up(self) -> None:
        """Close. Idempotent."""
        self.close()  # type: ignore[no-untyped-call]

    def connect(self) -> bool:
        """Whether there is a connection; none is made behind the caller's back."""
        return self.socket is not None

    def recv(self, size: int | None) -> bytes:  # noqa: ARG002 - all that is there is taken
        """Wait for bytes. Raises _SilentError and ConnectionException."""
        if self.socket is None:
            raise ConnectionException("closed")
        waiter = select.poll()
        waiter.register(self.socket, select.POLLIN)
        deadline = time.monotonic() + self._timeout_s
        while not waiter.poll(SLICE_S * 1e3):
            if time.monotonic() >= deadline:
                raise _SilentError
            self._meanwhile()
        try:
            data = self.socket.recv(4096)
        except OSError:
            data = b""
        if not data:
            raise ConnectionException("ended")
        return data
