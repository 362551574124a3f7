"""The cameras' blocks in the PLC: what they hold of ours, and what they are brought to hold."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from inspector.line.registers import ANSWER_AT, ANSWER_REGISTERS, Answer, Status
from inspector.line.spans import read_spans, spans_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from inspector.line.handshake import Handshake
    from inspector.line.modbus import Plc
    from inspector.line.registers import Layout

SAY_AGAIN_S = 600.0
"""What goes on is logged again after so long."""

_log = structlog.get_logger("inspector.line")


@dataclass(slots=True)
class _Written:
    """What the PLC's registers hold of ours; None where nobody knows."""

    answer: Answer | None = None
    status: Status | None = None


class CameraBlocks:
    """Writes what the handshakes want, and only what differs. Belongs to the session's thread.

    Each method raises LineError where the PLC does not take it.
    """

    def __init__(
        self,
        plc: Plc,
        layout: Layout,
        handshakes: Mapping[str, Handshake],
        clock_ns: Callable[[], int],
    ) -> None:
        self._plc = plc
        self._layout = layout
        self._handshakes = handshakes
        self._clock_ns = clock_ns
        self._ours = spans_of(
            (layout.status(name), ANSWER_AT + ANSWER_REGISTERS) for name in layout.cameras
        )
        self._warn_again_s = 0.0
        self.forget()

    def forget(self) -> None:
        """Nobody knows what the PLC holds."""
        self._written = {name: _Written() for name in self._handshakes}

    def answers(self) -> dict[str, Answer]:
        """What the PLC holds of our answers; what cannot be read is nothing of ours."""
        answers = {}
        for name in self._handshakes:
            registers = self._plc.read(self._layout.answer(name), ANSWER_REGISTERS)
            try:
                answers[name] = Answer.decode(registers, self._layout.word_order)
            except ValueError:
                answers[name] = Answer()
        return answers

    def lower(self, name: str, *, fault: bool = False) -> None:
        """Nothing is ready, busy or valid."""
        self._write_status(name, Status(fault=fault))

    def write(self) -> None:
        """Bring all registers up to what the handshakes want."""
        for name, handshake in self._handshakes.items():
            self._write(name, handshake)

    def read_back(self) -> None:
        """Do the registers hold what was written?

        A PLC may lose them and keep the connection (its program was loaded anew), or its program
        may write to them by mistake. They are written anew, as at the beginning of a session.
        """
        part, layout = read_spans(self._plc, self._ours), self._layout
        for name, written in self._written.items():
            if written.answer is None or written.status is None:
                continue
            expected = [*written.status.encode(), *written.answer.encode(layout.word_order)]
            found = part(layout.status(name), len(expected))
            if found != expected:
                self._warn_of_change(name, expected, found)
                self._written[name] = _Written()

    def _warn_of_change(self, name: str, expected: list[int], found: list[int]) -> None:
        now_s = time.monotonic()
        if now_s < self._warn_again_s:
            return
        self._warn_again_s = now_s + SAY_AGAIN_S
        _log.warning(
            "the PLC holds other registers than were written; they are written anew",
            camera=name,
            address=self._layout.status(name),
            written=expected,
            found=found,
            remedy="look whether its program, or another station, writes to them",
        )

    def _write(self, name: str, handshake: Handshake) -> None:
        """Bring a camera's registers up to what its handshake wants.

        The answer first; then the handshake is asked again, as the deadline may have passed
        meanwhile, and the status goes last. An answer never changes under a `valid` that stands.
        """
        written, layout = self._written[name], self._layout
        while True:
            answer, status = handshake.output(self._clock_ns())
            if written.answer != answer:
                if written.status is None or written.status.valid:
                    self.lower(name, fault=status.fault)
                written.answer = None
                self._plc.write(layout.answer(name), answer.encode(layout.word_order))
                written.answer = answer
                continue
            if written.status != status:
                self._write_status(name, status)
                if status.valid:
                    handshake.raised(self._clock_ns())
                    continue
            return

    def _write_status(self, name: str, status: Status) -> None:
        written = self._written[name]
        written.status = None
        self._plc.write(self._layout.status(name), status.encode())
        written.status = status
