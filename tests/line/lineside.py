"""The station's side of a line without its cameras: the real session, and verdicts by number."""

from __future__ import annotations

import heapq
import random
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from inspector.config.line import Line
from inspector.line.parts import Finding
from inspector.line.registers import LABELS, Result
from inspector.line.signals import Signals

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from inspector.line.parts import Cause, Part
    from inspector.line.registers import Answer

_RESULTS = (Result.ACCEPT, Result.REJECT, Result.UNCERTAIN, Result.UNJUDGEABLE)


def verdict_on(part: int) -> Finding:
    """The finding on a part: each number has its own, and neighbours differ."""
    result = _RESULTS[(part * 7 + part // 4) % 4]
    return Finding(result, part % 9, part * 37 % 1001)


def agrees(answer: Mapping[str, Any]) -> bool:
    """Whether an answer, as the simulator records it, is the one for its part."""
    finding = verdict_on(answer["part"])
    return (
        answer["result"] == finding.result.word
        and answer["label"] == LABELS.get(finding.label)
        and answer["confidence"] == finding.confidence / 1000
    )


@dataclass
class Happened:
    """Faults begun and ended, as (camera, cause)."""

    faults: list[tuple[str | None, Cause]] = field(default_factory=list)
    restored: list[tuple[str | None, Cause]] = field(default_factory=list)
    signal_s: list[float] = field(default_factory=list)
    connections: int = 0


class Judging:
    """Signals of the station, with a judge in a thread that takes its time for each part.

    Args:
        takes_s: least and longest time of a verdict.
    """

    def __init__(
        self,
        port: int,
        cameras: Iterable[str],
        *,
        takes_s: tuple[float, float] = (0.002, 0.015),
        deadline_ms: float = 400,
        timeout_ms: float = 500,
        **line: Any,
    ) -> None:
        names = dict.fromkeys(cameras)
        self.happened = Happened()
        self._takes_s = takes_s
        self._chance = random.Random(1)
        self._due: list[tuple[float, int, str, Part]] = []
        self._asked = threading.Condition()
        self._over = False
        self.signals = Signals(
            Line.model_validate(
                {
                    "modbus": {"host": "127.0.0.1", "port": port, "timeout_ms": timeout_ms},
                    "heartbeat_ms": 50,
                    "cameras": {name: {"deadline_ms": deadline_ms} for name in names},
                    **line,
                }
            ),
            names,
            self,
        )
        self._thread = threading.Thread(target=self._judge, name="judge")

    def __enter__(self) -> Self:
        self._thread.start()
        self.signals.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.signals.stop()
        with self._asked:
            self._over = True
            self._asked.notify()
        self._thread.join()

    def connected(self) -> None:
        self.happened.connections += 1

    def triggered(self, camera: str, part: Part) -> None:
        with self._asked:
            due_s = time.monotonic() + self._chance.uniform(*self._takes_s)
            heapq.heappush(self._due, (due_s, id(part), camera, part))
            self._asked.notify()

    def raised(self, camera: str, answer: Answer, after_s: float | None) -> None:
        if after_s is not None:
            self.happened.signal_s.append(after_s)

    def faulted(self, camera: str | None, cause: Cause, detail: str) -> None:
        self.happened.faults.append((camera, cause))

    def restored(self, camera: str | None, cause: Cause, after_s: float) -> None:
        self.happened.restored.append((camera, cause))

    def _judge(self) -> None:
        while True:
            with self._asked:
                while not self._over and not self._ripe():
                    left_s = self._due[0][0] - time.monotonic() if self._due else None
                    self._asked.wait(left_s)
                if self._over:
                    return
                _, _, camera, part = heapq.heappop(self._due)
            self.signals.resolve(camera, part, verdict_on(part.number))

    def _ripe(self) -> bool:
        return bool(self._due) and self._due[0][0] <= time.monotonic()
