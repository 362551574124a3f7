"""The checks of a station: one list, for `inspector doctor` and `inspector check --probe`.

Nothing here changes anything: what is written to measure a disk is removed, nothing is written to a
topic, the PLC gets back what its registers held, and a station that runs on the same state folder
does not notice.
"""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from inspector.config.state import state_folder
from inspector.doctor import box, broker, cameras, engines, files, line
from inspector.doctor.capacity import capacity
from inspector.doctor.deadlines import deadlines
from inspector.doctor.evidence import check_evidence
from inspector.doctor.finding import Finding, Grade
from inspector.doctor.gpu import check_gpu
from inspector.doctor.plans import check_plans
from inspector.doctor.service import check_service
from inspector.doctor.state import RunningStation, check_state
from inspector.engine.plans.store import Plans

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from inspector.config.secrets import Secrets
    from inspector.config.station import Station

ENGINE_WITHIN_S = 120.0
BROKER_WITHIN_S = 60.0
LINE_WITHIN_S = 90.0
BOX_WITHIN_S = 40.0


@dataclass(frozen=True, slots=True)
class Check:
    """A piece of the examination.

    Attributes:
        subject, name: of the finding that stands for it where it gives no answer.
        within_s: longest it may take.
        run: looks, in a thread of its own.
    """

    subject: str
    name: str
    within_s: float
    run: Callable[[], Iterable[Finding]]


def examine_file(path: Path, secrets: Secrets, *, seconds: float) -> list[Finding]:
    """Examine a station file, and all that it names.

    A file that cannot be used is a finding itself; what needs no file is looked at all the same.

    Args:
        path: the station file.
        secrets: where the secrets that it names are found.
        seconds: how long each camera is looked at.
    """
    station, findings = files.read(path, secrets)
    if station is None:
        return [*findings, *examine(checks_of_box())]
    return [*findings, *examine_station(station, path, secrets, seconds=seconds)]


def examine_station(
    station: Station, file: Path, secrets: Secrets, *, seconds: float
) -> list[Finding]:
    """Examine all that a station needs; takes some seconds more than `seconds`."""
    running = RunningStation.of(station)
    findings = examine(
        [
            Check(
                "camera",
                "",
                cameras.within_s(station.cameras, seconds),
                partial(cameras.check_cameras, station, secrets, running, seconds=seconds),
            ),
            *checks_of_broker(station, secrets),
            *checks_of_line(station, running),
            Check("state", "", BOX_WITHIN_S, partial(check_state, station, running)),
            Check("evidence", "", BOX_WITHIN_S, partial(check_evidence, station, running)),
            Check("service", "", BOX_WITHIN_S, partial(check_service, station, file)),
            Check("page", "", BOX_WITHIN_S, partial(box.check_page, station, running)),
            Check("memory", "", BOX_WITHIN_S, partial(box.check_memory, station)),
            *checks_of_box(),
        ]
    )
    asked = station.engine
    store = Plans(state_folder(station) / asked.plans, max_bytes=asked.plans_max_mb * 1_000_000)
    findings += examine(
        [
            Check("gpu", "", BOX_WITHIN_S, partial(check_gpu, asked)),
            Check("plan", "", BOX_WITHIN_S, partial(check_plans, asked, store)),
        ]
    )
    # Alone, so that its speed is its own.
    findings += examine(
        [Check("engine", "", ENGINE_WITHIN_S, partial(engines.check_engines, asked, store))]
    )
    return [*findings, *capacity(station, findings), *deadlines(station, findings)]


def checks_of_broker(station: Station, secrets: Secrets) -> list[Check]:
    """Of a station that has a broker; else that it has none."""
    run = partial(broker.check_broker, station.events, secrets)
    return [Check("broker", "", BROKER_WITHIN_S, run)]


def checks_of_line(station: Station, running: RunningStation | None) -> list[Check]:
    """Of a station that has a PLC; else none."""
    if station.line is None:
        return []
    run = partial(line.check_line, station, station.line, running)
    return [Check("line", "", LINE_WITHIN_S, run)]


def checks_of_box() -> list[Check]:
    """What needs no station file."""
    return [
        Check("clock", "", BOX_WITHIN_S, box.check_clock),
        Check("cpu", "", BOX_WITHIN_S, box.check_cpu),
    ]


def examine(checks: Sequence[Check]) -> list[Finding]:
    """Run checks side by side, each for its own time at most.

    Returns:
        Their findings in the order of the checks. One that gives no answer in time, or fails, is a
        finding too.
    """
    answers = [_start(check) for check in checks]
    began = time.monotonic()
    findings: list[Finding] = []
    for check, answer in zip(checks, answers, strict=True):
        findings += _collect(check, answer, began)
    return findings


def _start(check: Check) -> queue.SimpleQueue[Finding | None]:
    answer: queue.SimpleQueue[Finding | None] = queue.SimpleQueue()

    def run() -> None:
        try:
            for finding in check.run():
                answer.put(finding)
        except Exception as error:  # noqa: BLE001 - the edge of a check: the others go on
            # Without the message: it may name an address with its password.
            found = f"this check failed: {type(error).__name__}"
            remedy = "report it: this is a fault of the program"
            answer.put(Finding(check.subject, check.name, Grade.MEND, found, remedy=remedy))
        answer.put(None)

    name = f"check-{check.subject}"
    threading.Thread(target=run, name=name, daemon=True).start()
    return answer


def _collect(
    check: Check, answer: queue.SimpleQueue[Finding | None], began: float
) -> Iterator[Finding]:
    """What one check says until it has said all, or its time is over."""
    while True:
        left_s = began + check.within_s - time.monotonic()
        try:
            finding = answer.get(timeout=max(0.0, left_s))
        except queue.Empty:
            found = f"no answer within {check.within_s:g} s"
            expected = f"an answer within {check.within_s:g} s"
            remedy = "something hangs: look at the log of the system, and at what was said above"
            yield Finding(check.subject, check.name, Grade.MEND, found, expected, remedy)
            return
        if finding is None:
            return
        yield finding
