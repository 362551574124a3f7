"""The station: wires the stages together and owns their lifecycle.

Start: page, outbox, publisher, engines (warm and proved on their golden tiles), cameras; then it is
ready, with none to all cameras up and with or without a broker. Stop: no new frames, what is in
flight is finished, the outbox is flushed; ten seconds at most.
"""

from __future__ import annotations

import threading
import time
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from inspector import __version__, facts
from inspector.camera_events import CameraEvents
from inspector.capture.supervisor import Capture
from inspector.config.state import state_folder
from inspector.engine.judge import Judge
from inspector.engine_room import Activation, EngineRoom
from inspector.errors import EventsError, TriggerError, UserError
from inspector.events.documents import Documents
from inspector.events.opening import OutboxInUseError, make_folder
from inspector.events.outbox import Outbox
from inspector.events.publisher import Publisher
from inspector.evidence.store import Evidence, make_room
from inspector.heartbeat import Heartbeat
from inspector.journal import Journal
from inspector.line.session import Standing
from inspector.lineup import Lineup
from inspector.marked import MarkedPictures
from inspector.observe.disk import free_bytes
from inspector.observe.health import Fact, Health, Loop, Phase
from inspector.observe.metrics import Metrics
from inspector.reload import Outcome, Reloads
from inspector.ruling import Rulings, result_of
from inspector.signalling import Signalling
from inspector.triggers import Triggers
from inspector.viewing import Viewing
from inspector.web.app import make_app
from inspector.web.server import WebServer

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from inspector.capture.status import CameraStatus
    from inspector.config.secrets import Secrets
    from inspector.config.station import Station as StationFile
    from inspector.evidence.store import Picture
    from inspector.frame import Frame, Trigger
    from inspector.slots import Ring
    from inspector.verdict import Verdict

_log = structlog.get_logger("inspector.station")

STOP_WITHIN_S = 8.0
"""All steps of a stop together; the service manager is told ten seconds."""
LOOP_LIMIT_S = 10.0
"""A loop that has not turned for this long ends liveness."""

OBSERVING = "mode observe: verdicts are published, and the line gets no signal"


class Station:
    """One running station.

    `start` and `stop` are called by one thread; everything else by any.

    Args:
        config: the station file, as it holds now.
        file: where it was read and is read again at a reload; None: there is no reload.
        secrets: where the secrets that it names are found.
        stop_asked: whether someone wants the station to end, asked between the steps of the start.
    """

    def __init__(
        self,
        config: StationFile,
        secrets: Secrets,
        *,
        file: Path | None = None,
        stop_asked: Callable[[], bool] = bool,
    ) -> None:
        self.config = config
        self.folder = state_folder(config)
        self.health = Health()
        self.metrics = Metrics(self.status, self.health)
        self._secrets = secrets
        self._file = file
        self._stop_asked = stop_asked
        self._documents = Documents(config.station, config.mode, config.events.topics)
        self._outbox: Outbox | None = None
        self._publisher: Publisher | None = None
        self._evidence: Evidence | None = None
        self._rulings: Rulings | None = None
        self._judge: Judge | None = None
        self._capture: Capture | None = None
        self._journal = Journal(self.folder)
        self._engines = EngineRoom(lambda: self.config, self.folder, self._journal)
        self._reloads: Reloads | None = None
        self._triggers: Triggers | None = None
        self._line: Signalling | None = None
        self._stopping = threading.Event()
        self._served = False
        self._heartbeat = Heartbeat(
            self.status, self.health, self._documents, lambda: self._engines.judging
        )
        pictures = MarkedPictures(self.folder, config.evidence)
        self._viewing = Viewing(self.folder, pictures, status=self.status, ready=self.health.ready)
        token = secrets.get(config.web.token) if config.web.token else None
        self._web = WebServer(
            make_app(self, self._viewing, host=config.web.host, token=token),
            host=config.web.host,
            port=config.web.port,
        )

    @property
    def address(self) -> str:
        """The page's address, once started."""
        return self._web.address

    def start(self) -> bool:
        """Bring everything up, or nothing; returns when the station is ready.

        Returns:
            False where the station was asked to stop before it was ready; it is stopped then.

        Raises:
            UserError: the state folder, the page's address or an engine cannot be used.
            EngineError, EventsError, WebError: another start may fare better.
        """
        try:
            ready = self._start()
        except BaseException:
            self.stop()
            raise
        if not ready:
            self.stop()
        return ready

    def _start(self) -> bool:
        config = self.config
        make_folder(self.folder)
        self._viewing.start()
        self._web.start()
        outbox = self._open_outbox()
        self._outbox = outbox
        self._evidence = self._keep_evidence(outbox)
        if config.events.kafka is not None:
            self._publisher = Publisher(
                outbox,
                config.events.kafka,
                config.events.topics,
                self._secrets,
                client_id=f"inspector-{config.station}",
                verdicts=config.events.publish_verdicts,
                on_published=lambda done: self.metrics.publish_seconds.observe(done.send_s),
            )
            self._publisher.start()
        for _ in self._engines.load(partial(setattr, self.health, "step"), self._stop_asked):
            if self._stop_asked():
                return False
        self._viewing.show(outbox, lambda: self._engines.labels)
        self._connect(outbox)
        if config.mode == "observe":
            _log.warning(OBSERVING)
        self._serve(Phase.SERVING, "serving")
        self._served = True
        self._heartbeat.start(outbox, config.events.heartbeat_s)
        return True

    def _open_outbox(self) -> Outbox:
        """Open the outbox; on a full disk pictures go first. Raises EventsError, UserError."""
        asked = self.config.events
        opened = partial(
            Outbox,
            self.folder,
            max_bytes=asked.outbox.max_mb * 1_000_000,
            keep_s=asked.outbox.keep_hours * 3600,
            topics=asked.topics,
            source=f"/stations/{self.config.station}",
            mode=self.config.mode,
            on_commit=lambda done: self.metrics.commit_seconds.observe(done.commit_s),
        )
        try:
            return opened()
        except EventsError as error:
            kept = self.config.evidence
            other = isinstance(error, UserError | OutboxInUseError)
            if other or kept is None or not make_room(self.folder / kept.folder, kept):
                raise
        return opened()

    def _keep_evidence(self, outbox: Outbox) -> Evidence | None:
        """Open the evidence, where pictures are wanted; it is looked through beside the start."""
        asked = self.config.evidence
        if asked is None:
            return None
        evidence = Evidence(
            self.folder / asked.folder,
            asked,
            slots=self.config.slots(),
            stored=outbox.documents,
            stored_ms=round(self.config.events.outbox.keep_hours * 3_600_000),
            newest_id=outbox.newest_id,
            on_seconds=lambda step, s: self.metrics.evidence_seconds.labels(step).observe(s),
        )
        evidence.start()
        return evidence

    def _connect(self, outbox: Outbox) -> None:
        """Capture feeds judge, judge feeds rulings; each end knows only its neighbour's door."""
        asked = self.config.engine
        rulings = Rulings(self.config, self._documents, outbox, self.metrics, self._evidence)
        camera_events = CameraEvents(self._documents, rulings.tell_of_camera, rulings.lost_cameras)

        def on_verdict(frame: Frame, verdict: Verdict) -> None:
            late = triggers.claim(frame)
            release = self._viewing.saw(
                frame, verdict, partial(capture.release, frame, result_of(verdict))
            )
            # While the frame is held: once it is not, a reload may have taken its camera away.
            reject = rulings.rejects(frame, verdict)
            try:
                rulings.rule(frame, verdict, capture.counters, release, late)
            finally:
                triggers.answer(frame, verdict, reject=reject)
                self._judged(frame, verdict, reject=reject, late=late)

        def on_change(status: CameraStatus) -> None:
            if line is not None:
                line.camera(status.name, status.state)
            # The service manager ends the workers with us: that is no camera that was lost.
            if not (self._stop_asked() or self._stopping.is_set()):
                camera_events.change(status)

        def on_ring(ring: Ring) -> None:
            judge.map_ring(ring)

        def on_ring_end(key: str) -> None:
            judge.unmap_ring(key)

        def on_missed(missed: tuple[Trigger, ...], cause: str, detail: str) -> None:
            triggers.missed(missed, cause, detail)

        capture = Capture(
            self.config.cameras,
            secrets=self._secrets,
            first_epochs=rulings.next_epochs(),
            on_change=on_change,
            on_epoch=rulings.begin_epoch,
            on_ring=on_ring,
            on_ring_end=on_ring_end,
            on_missed=on_missed,
            counted=self.config.counted(),
        )
        triggers = Triggers(capture, self.config.mode, self.metrics)
        line = self._line = self._signal_line(outbox, triggers)
        judge = Judge(
            capture,
            self._engines.screen,
            self._engines.confirm,
            max_batch=asked.max_batch,
            max_delay_s=asked.max_delay_ms / 1e3,
            confirm_within_s=asked.confirm_within_ms / 1e3,
            on_verdict=on_verdict,
        )
        self._rulings, self._capture, self._judge = rulings, capture, judge
        self._triggers = triggers
        lineup = Lineup(
            self.config,
            capture,
            rulings,
            camera_events,
            self.metrics,
            self._evidence,
            self._viewing,
        )
        self._make_reloads(lineup)
        self.health.watch(
            [
                Loop("judge", judge.progress_ns, LOOP_LIMIT_S),
                Loop("capture", capture.progress_ns, LOOP_LIMIT_S),
                Loop("outbox", outbox.progress_ns, LOOP_LIMIT_S),
                Loop("triggers", triggers.progress_ns, LOOP_LIMIT_S),
                *([Loop("line", line.signals.progress_ns, LOOP_LIMIT_S)] if line else []),
            ],
            lambda: self._facts(outbox, capture),
        )
        triggers.start()
        if line is not None:
            line.start()
        judge.start()
        capture.start()

    def _judged(
        self, frame: Frame, verdict: Verdict, *, reject: bool, late: Collection[str]
    ) -> None:
        if self._line is not None:
            self._line.judged(frame, verdict, reject=reject, late=late)

    def _signal_line(self, outbox: Outbox, triggers: Triggers) -> Signalling | None:
        asked = self.config.line
        if asked is None:
            return None

        def standing() -> Standing:
            # At a stop the line itself says last of all that nobody serves.
            return Standing(
                self._served,
                self._engines.degraded,
                accepting=self.health.phase is Phase.SERVING,
            )

        return Signalling(
            self.config, asked, self._documents, outbox, self.metrics, triggers, standing
        )

    def _make_reloads(self, lineup: Lineup) -> None:
        if self._file is None:
            return

        def on_applied(config: StationFile) -> None:
            self.config = config

        self._reloads = Reloads(
            self._file,
            self._secrets,
            lineup,
            self._journal,
            on_applied=on_applied,
            giving_up=lambda: self._stop_asked() or self._stopping.is_set(),
        )

    def reload(self, origin: str) -> Outcome:
        """Take the station file as it is now: all of it, or nothing. Any thread; never raises.

        Args:
            origin: who asks, for journal and log.
        """
        if self._reloads is not None and self.health.phase is Phase.SERVING:
            return self._reloads.reload(origin)
        why = f"the station is {self.health.phase}: {self.health.step}"
        if self._file is None:
            why = "this station was given no file that could be read again"
        _log.warning("reload: not now", origin=origin, reason=why)
        return Outcome("not now", why)

    def activate(self, engine: str, stage: str, origin: str) -> Activation:
        """Have another engine judge, while the station runs. Any thread; never raises.

        Args:
            engine: name of an engine folder.
            stage: `screen` or `confirm`.
            origin: who asks, for journal and log.
        """
        return self._not_now() or self._engines.activate(engine, stage, origin)

    def roll_back(self, stage: str, origin: str) -> Activation:
        """Have the engine judge that did before the last activation. Any thread; never raises."""
        return self._not_now() or self._engines.roll_back(stage, origin)

    def _not_now(self) -> Activation | None:
        if self.health.phase is Phase.SERVING:
            return None
        why = f"the station is {self.health.phase}: {self.health.step}"
        return Activation("not now", why)

    def journal(self, limit: int) -> Sequence[Mapping[str, Any]]:
        """The newest changes made to the station, newest first. Raises OSError."""
        return self._journal.newest(limit)

    def stop(self) -> None:
        """No new frames, finish those in flight, flush the outbox. Idempotent."""
        if self._stopping.is_set():
            return
        deadline = time.monotonic() + STOP_WITHIN_S

        def left(reserve_s: float) -> float:
            return max(0.0, deadline - time.monotonic() - reserve_s)

        self._serve(Phase.STOPPING, "stopping")
        self._stopping.set()
        self._stop_judging(left)
        self._flush(left)
        self._engines.close()
        self._viewing.close()
        self._web.stop()

    def _flush(self, left: Callable[[float], float]) -> None:
        """Bring events to the disk, and beside their pictures."""
        if self._outbox is not None:
            self._heartbeat.stop(self._outbox)
        if self._publisher is not None:
            self._publisher.stop(left(2.5))
        if self._outbox is not None:
            self._outbox.close(max(1.0, left(1)))
        if self._evidence is not None:
            self._evidence.close(min(0.5, left(0.4)))

    def _stop_judging(self, left: Callable[[float], float]) -> None:
        """No new frames and triggers; those in flight are finished within the deadline."""
        if self._capture is not None:
            self._capture.stop()
        if self._judge is not None:
            self._judge.stop(left(4.5))
        if self._triggers is not None:
            self._triggers.close()
        if self._line is not None:
            self._line.stop(min(1.0, left(4.5)))
        if self._evidence is not None:
            self._evidence.settle(min(1.0, left(4)))  # no event waits for its picture any more
        self._viewing.settle()
        if self._capture is not None:
            self._capture.close()

    @property
    def ended(self) -> bool:
        """Every camera has come to its end (files, folders) and every frame is judged."""
        return self._capture is not None and self._capture.ended

    def status(self) -> dict[str, Any]:
        """Everything there is to know of the station now, as JSON-able data without secrets."""
        cameras = self._capture.status() if self._capture is not None else {}
        return {
            "station": self.config.station,
            "version": __version__,
            "mode": self.config.mode,
            "phase": self.health.phase.value,
            "step": self.health.step,
            "engines": self._engines.status(),
            "cameras": {
                name: _plain(camera) | self._quality(name) for name, camera in cameras.items()
            },
            "outbox": self._outbox.stats().to_json() if self._outbox is not None else None,
            "broker": asdict(self._publisher.status()) if self._publisher else {"state": "off"},
            "line": self._line.status() if self._line is not None else None,
            "evidence": asdict(self._evidence.stats()) if self._evidence is not None else None,
            "free_bytes": free_bytes(self.folder),
        }

    def inspect(self, camera: str, part_id: str | None) -> Future[dict[str, Any]]:
        """Ask for the verdict on the part that is before a camera now.

        Returns:
            The answer to come, at the camera's `inspect.deadline_ms` at the latest.

        Raises:
            TriggerError: there is no such camera, too many triggers of it wait, or the station does
                not judge (yet, or any more).
        """
        if camera not in self.config.cameras:
            known = ", ".join(sorted(self.config.cameras))
            raise TriggerError("unknown_camera", f"no camera {camera}; this station has {known}")
        if self._triggers is None or self.health.phase is not Phase.SERVING:
            raise TriggerError("not_serving", f"the station does not judge now: {self.health.step}")
        if self._line is None:
            return self._triggers.ask(camera, part_id)
        return self._line.ask(camera, part_id)

    def recent_events(self, limit: int) -> Sequence[Mapping[str, Any]]:
        """The newest events, newest first, as CloudEvents documents."""
        return self._outbox.newest(limit) if self._outbox is not None else []

    def evidence(self, uri: str) -> Picture | None:
        """A kept picture, or the event beside it, by the uri in its event."""
        return self._evidence.picture(uri) if self._evidence is not None else None

    def _quality(self, camera: str) -> dict[str, Any]:
        rulings = self._rulings
        if rulings is None:
            return {"quality": "good", "last_verdict": None}
        return {"quality": rulings.quality(camera), "last_verdict": rulings.last(camera)}

    def _facts(self, outbox: Outbox, capture: Capture) -> Iterator[Fact]:
        if self.config.mode == "observe":
            yield Fact("mode", ok=True, detail=OBSERVING)
        yield from facts.of_outbox(outbox)
        yield from facts.of_evidence(self._evidence)
        yield from facts.of_judging(self._rulings)
        yield from self._engines.facts()
        yield from facts.of_broker(self._publisher)
        if self._line is not None:
            yield self._line.fact()
        if self._reloads is not None:
            yield from self._reloads.facts()
        yield from facts.of_cameras(capture, self._rulings)

    def _serve(self, phase: Phase, step: str) -> None:
        self.health.phase, self.health.step = phase, step
        _log.info(step, station=self.config.station)


def _plain(camera: CameraStatus) -> dict[str, Any]:
    return asdict(camera) | {"since_utc": camera.since_utc.isoformat()}
