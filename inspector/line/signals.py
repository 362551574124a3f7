"""What the station, or the service that reads Kafka, says to the line, and hears from it."""

from __future__ import annotations

import time
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from inspector.line.handshake import Handshake, Rules
from inspector.line.parts import Connected, Ended, Faulted, Part, Raised, Restored, Triggered
from inspector.line.registers import LABELS, Answer, Layout, Result
from inspector.line.session import Session, Standing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from inspector.config.line import Line, LineCamera
    from inspector.line.lease import Lease
    from inspector.line.parts import Cause, Done, Event, Finding

MOST_POSTED = 1000
"""Jobs that the session may not have come to; beyond, a camera's parts are lost, with an alarm."""

_log = structlog.get_logger("inspector.line")


class Listener(Protocol):
    """Who is told what happens on the line, by the session's thread; each must return at once."""

    def connected(self) -> None:
        """The PLC hears us, for the first time or again."""

    def triggered(self, camera: str, part: Part) -> None:
        """The PLC announced a part: `Signals.resolve` it."""

    def raised(self, camera: str, answer: Answer, after_s: float | None) -> None:
        """`valid` stands over an answer, so long after its verdict was handed over."""

    def faulted(self, camera: str | None, cause: Cause, detail: str) -> None:
        """A fault began; of the whole line where there is no camera."""

    def restored(self, camera: str | None, cause: Cause, after_s: float) -> None:
        """A fault ended."""


class Signals:
    """The line's signals. `start` and `stop` by one thread, all else by any.

    What is handed over is told to the PLC by the session's thread: no call waits for the network.

    Args:
        line: section of the station file.
        cameras: of the station file, in its order.
        observing: `mode: observe`: heartbeat and status only, never a result.
        standing: how the station is; must return at once.
        accepts: whether parts of a camera can be taken now; must return at once.
        lease: how long the PLC's registers are ours; None: for ever.
    """

    def __init__(
        self,
        line: Line,
        cameras: Mapping[str, object],
        listener: Listener,
        *,
        observing: bool = False,
        standing: Callable[[], Standing] = lambda: Standing(serving=True),
        accepts: Callable[[str], bool] = lambda _: True,
        lease: Lease | None = None,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._cameras = line.signalled(cameras)
        self._listener = listener
        self._observing = observing
        self._clock_ns = clock_ns
        self._overflown: set[str] = set()
        self._handshakes = {
            name: Handshake(_rules(line, camera), silent=observing)
            for name, camera in self._cameras.items()
        }
        self._session = Session(
            line,
            Layout.of(line, cameras),
            self._handshakes,
            observing=observing,
            standing=standing,
            accepts=accepts,
            on_event=self._told,
            lease=lease,
            clock_ns=clock_ns,
        )

    def start(self) -> None:
        """Begin; the PLC may come later."""
        self._session.start()

    def stop(self, within_s: float = 1.0) -> None:
        """No more parts; those on their way may take so long. Then all is lowered and closed."""
        self._session.stop(within_s)

    def trigger_of(self, camera: str) -> str | None:
        """What announces the parts of a camera: plc, api, frames; None: it is not signalled."""
        asked = self._cameras.get(camera)
        return None if asked is None else asked.trigger

    def signal(
        self,
        camera: str,
        finding: Finding,
        *,
        part: int = 0,
        from_ns: int | None = None,
        deadline_ns: int | None = None,
        sequence: int | None = None,
        on_done: Callable[[Done], None] | None = None,
    ) -> None:
        """Tell the PLC of a part that it did not announce.

        Args:
            from_ns: monotonic time of its capture or trigger; now if absent.
            deadline_ns: when the PLC must know; the camera's `deadline_ms` after `from_ns` if
                absent. Once it has passed the PLC hears `no result`.
            sequence: 1…65535 where it is a repeat, or the caller counts; else the next.
            on_done: told once what became of it, by the session's thread.

        Raises:
            KeyError: the camera is not signalled.
        """
        now = self._clock_ns()
        begun = now if from_ns is None else from_ns
        until = begun + self._handshakes[camera].rules.deadline_ns
        new = Part(
            part,
            begun,
            until if deadline_ns is None else deadline_ns,
            finding,
            found_ns=now,
            sequence=sequence,
            on_done=on_done,
        )
        handshake = self._handshakes[camera]
        self._post(camera, lambda: handshake.signal(new, self._clock_ns()))

    def expect(self, camera: str, part: int) -> Part:
        """A part was announced, by the API; `resolve` it. Raises KeyError."""
        now = self._clock_ns()
        handshake = self._handshakes[camera]
        new = Part(part, now, now + handshake.rules.deadline_ns)
        self._post(camera, partial(handshake.expect, new))
        return new

    def resolve(self, camera: str, part: Part, finding: Finding | None) -> None:
        """The verdict on a part that was announced; None: none will come. Raises KeyError."""
        handshake, found_ns = self._handshakes[camera], self._clock_ns()

        def job() -> None:
            handshake.resolve(part, finding, self._clock_ns())
            if part.found_ns:
                part.found_ns = found_ns  # the way here counts too

        self._post(camera, job)

    def late(self, camera: str) -> None:
        """A verdict came when its part had been given up long ago. Raises KeyError."""
        counters = self._handshakes[camera].counters

        def job() -> None:
            counters.late += 1

        self._post(camera, job)

    def status(self) -> dict[str, Any]:
        """Everything at this moment, as JSON-able data."""
        session = self._session
        return {
            "state": session.state,
            "address": session.address,
            "detail": session.detail,
            "since": session.since.isoformat(timespec="milliseconds"),
            "heartbeat": session.heartbeat,
            "safe": session.safe.word,
            "observing": self._observing,
            "faults": sorted(session.faults.open),
            "cameras": {name: _shown(handshake) for name, handshake in self._handshakes.items()},
        }

    def progress_ns(self) -> int:
        """Monotonic time of the session's last turn, for the watchdog; 0 before the first."""
        return self._session.progress_ns()

    def _post(self, camera: str, job: Callable[[], None]) -> None:
        if self._session.backlog < MOST_POSTED:
            self._session.post(job)
            self._overflown.discard(camera)
        elif camera not in self._overflown:
            self._overflown.add(camera)
            handshake = self._handshakes[camera]
            self._session.post(lambda: handshake.overflow(self._clock_ns()))

    def _told(self, camera: str | None, event: Event) -> None:
        """By the session's thread."""
        try:
            self._pass_on(camera, event)
        except Exception:  # noqa: BLE001 - whoever listens must not end the session
            _log.exception("what happened on the line was not taken note of", camera=camera)

    def _pass_on(self, camera: str | None, event: Event) -> None:
        match event:
            case Faulted(cause, detail):
                _log.error("line fault", camera=camera, cause=cause, detail=detail)
                self._listener.faulted(camera, cause, detail)
            case Restored(cause, after_s):
                _log.info("line restored", camera=camera, cause=cause, after_s=round(after_s, 3))
                self._listener.restored(camera, cause, after_s)
            case Connected():
                self._listener.connected()
            case Triggered(part) if camera is not None:
                self._listener.triggered(camera, part)
            case Raised(answer, after_s) if camera is not None:
                self._listener.raised(camera, answer, after_s)
            case Ended(part, done) if part.on_done is not None:
                part.on_done(done)
            case _:
                pass


def _rules(line: Line, camera: LineCamera) -> Rules:
    return Rules(
        trigger=camera.trigger,
        deadline_ns=round(camera.deadline_ms * 1e6),
        reserve_ns=round(camera.reserve_ms * 1e6),
        acknowledge_ns=round(line.acknowledge_ms * 1e6),
        by_sequence=line.acknowledge == "sequence",
        queue=camera.queue,
    )


def _shown(handshake: Handshake) -> dict[str, Any]:
    answer = handshake.answer
    told = answer.result is not Result.NONE
    return {
        "phase": handshake.phase,
        "part": handshake.part,
        "result": answer.result.word if told else None,
        "label": LABELS.get(answer.label),
        "sequence": handshake.sequence,
        "acknowledged_ms": handshake.acknowledged_ms,
        "waiting": handshake.waiting,
        "faults": sorted(handshake.faults.open),
        "counters": asdict(handshake.counters),
    }
