"""A PLC that does what the manual says, over a connection that does not.

While the connection breaks, hangs, crawls and the server starts anew, no part may get another
part's answer, none a wrong one, and after each fault the line
must go on.
"""

from __future__ import annotations

import random
import threading
import time

from inspector.config.line import Line
from inspector.line.parts import Cause, Finding, Part
from inspector.line.registers import Answer, Result
from inspector.line.signals import Signals
from tests.servers.plc import PlcServer

FAULTS = 30
FINDINGS = [Finding(Result.REJECT, 3, 990), Finding(Result.ACCEPT, 7, 999)]


class Judge:
    """Judges each part by its number, after a while; now and then not at all."""

    def __init__(self, rng: random.Random) -> None:
        self.signals: Signals | None = None
        self._rng = rng

    def connected(self) -> None:
        pass

    def triggered(self, camera: str, part: Part) -> None:
        if self._rng.random() < 0.1:
            return
        delay_s = self._rng.choice([0.0, 0.01, 0.05])
        threading.Timer(delay_s, self._judged, (camera, part)).start()

    def _judged(self, camera: str, part: Part) -> None:
        assert self.signals is not None
        self.signals.resolve(camera, part, FINDINGS[part.number % 2])

    def raised(self, camera: str, answer: Answer, after_s: float | None) -> None:
        pass

    def faulted(self, camera: str | None, cause: Cause, detail: str) -> None:
        pass

    def restored(self, camera: str | None, cause: Cause, after_s: float) -> None:
        pass


class Program:
    """The PLC's program of one camera: asks, acts on each sequence once, acknowledges all."""

    def __init__(self, plc: PlcServer) -> None:
        self.plc = plc
        self.asked: int | None = None
        self.number = 0
        self.last_sequence = 0
        self.answers: dict[int, Answer] = {}
        self.strange: list[Answer] = []
        self._acknowledge = False

    def scan(self) -> None:
        status = self.plc.status()
        if status.valid and not self._acknowledge:
            answer = self.plc.answer()
            if answer.sequence != self.last_sequence:
                self.last_sequence = answer.sequence
                if answer.part == self.asked:
                    self.answers[answer.part] = answer
                    self.asked = None
                else:
                    self.strange.append(answer)
            self._acknowledge = True
        elif self._acknowledge and not status.valid:
            self._acknowledge = False
        elif status.ready and self.asked is None and not self._acknowledge:
            self.number += 1
            self.asked = self.number
        self.plc.says(
            trigger=self.asked is not None,
            acknowledge=self._acknowledge,
            part=self.asked or 0,
            sequence=self.last_sequence if self._acknowledge else 0,
        )


def spoil(plc: PlcServer, rng: random.Random) -> None:
    """One fault, for a moment."""
    fault = rng.choice(["hang up", "answer", "status", "silent", "slow", "restart"])
    if fault == "hang up":
        plc.hang_up()
    elif fault == "answer":
        plc.hangs_up_at = 33
    elif fault == "status":
        plc.hangs_up_at = 32
    elif fault == "silent":
        plc.silent = True
        time.sleep(0.15)
        plc.silent = False
    elif fault == "slow":
        plc.delay_s = 0.02
        time.sleep(0.15)
        plc.delay_s = 0.0
    else:
        plc.stop()
        time.sleep(0.05)
        plc.start()


def test_whatever_the_connection_does_each_part_gets_its_own_answer() -> None:
    rng = random.Random(11)
    with PlcServer() as plc:
        line = Line.model_validate(
            {
                "modbus": {"host": "127.0.0.1", "port": plc.port, "timeout_ms": 100},
                "acknowledge": "sequence",
                "acknowledge_ms": 1000,
                "cameras": {"a": {"deadline_ms": 300, "reserve_ms": 50}},
            }
        )
        judge = Judge(random.Random(12))
        judge.signals = Signals(line, {"a": None}, judge)
        judge.signals.start()
        program, over = Program(plc), threading.Event()

        def run() -> None:
            while not over.wait(0.003):
                program.scan()

        scanning = threading.Thread(target=run)
        scanning.start()
        try:
            for _ in range(FAULTS):
                time.sleep(rng.uniform(0, 0.2))  # anywhere in a handshake
                spoil(plc, rng)
                parts = len(program.answers) + 2
                plc.until("answers", lambda parts=parts: len(program.answers) >= parts)
        finally:
            over.set()
        scanning.join()
        judge.signals.stop(0)
        plc.raised()
    assert not program.strange
    for number, answer in program.answers.items():
        assert answer.result in {FINDINGS[number % 2].result, Result.NO_RESULT}
    told = [answer.result for answer in program.answers.values()]
    assert told.count(Result.NO_RESULT) < len(told)
