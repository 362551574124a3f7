"""The station: wires the stages together and owns their lifecycle.

Start: page, outbox, publisher, engines (warm and proved on their golden tiles), cameras; then it is
ready, with none to all cameras up and with or without a broker. Stop: no new frames, what is in
flight is finished, the outbox is flushed; ten seconds at most.
"""

from __future__ import annotations

import shutil
import threading
import time
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from inspector import __version__
from inspector.camera_events import CameraEvents, camera_entry
from inspector.capture.supervisor import Capture
from inspector.config.state import state_folder
from inspector.engine.judge import Judge
from inspector.engine.load import load_asked, stages_of
from inspector.errors import EngineError, TriggerError, UserError
from inspector.events.documents import Documents
from inspector.events.outbox import Outbox
from inspector.events.publisher import Publisher
from inspector.evidence.store import Evidence
from inspector.journal import Journal
from inspector.lineup import Lineup
from inspector.observe.health import Fact, Health, Loop, Phase
from inspector.observe.metrics import Metrics
from inspector.reload import Outcome, Reloads
from inspector.ruling import Rulings, result_of
from inspector.triggers import Triggers
from inspector.web.app import make_app
from inspector.web.server import WebServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from inspector.capture.status import CameraStatus
    from inspector.config.secrets import Secrets
    from inspector.config.station import Station as StationFile
    from inspector.engine.load import Engine
    from inspector.events.documents import Event
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
        self._started_utc_ns, self._started_ns = time.time_ns(), time.monotonic_ns()
        self._documents = Documents(config.station, config.mode, config.events.topics)
        self._outbox: Outbox | None = None
        self._publisher: Publisher | None = None
        self._evidence: Evidence | None = None
        self._rulings: Rulings | None = None
        self._engines: dict[str, Engine] = {}
        self._judge: Judge | None = None
        self._capture: Capture | None = None
        self._journal = Journal(self.folder)
        self._reloads: Reloads | None = None
        self._triggers: Triggers | None = None
        self._stopping = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        token = secrets.get(config.web.token) if config.web.token else None
        self._web = WebServer(
            make_app(self, host=config.web.host, token=token),
            host=config.web.host,
            port=config.web.port,
        )

    @property
    def address(self) -> str:
        """The page's address, once started."""
        return self._web.address

    def start(self) -> bool:
        """Bring everything up; returns when the station is ready.

        Returns:
            False where the station was asked to stop before it was ready; it is stopped then.

        Raises:
            UserError: the state folder, the page's address or an engine cannot be used. What was
                started by then is stopped.
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
        self._make_folder()
        self._web.start()
        outbox = Outbox(
            self.folder,
            max_bytes=config.events.outbox.max_mb * 1_000_000,
            keep_s=config.events.outbox.keep_hours * 3600,
            topics=config.events.topics,
            source=f"/stations/{config.station}",
            mode=config.mode,
            on_commit=lambda done: self.metrics.commit_seconds.observe(done.commit_s),
        )
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
        for stage, engine in self._load_engines():
            self._engines[stage] = engine
            if self._stop_asked():
                return False
        self._connect(outbox)
        if config.mode == "observe":
            _log.warning(OBSERVING)
        self._serve(Phase.SERVING, "serving")
        self._heart.start()
        return True

    def _make_folder(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            msg = (
                f"the state folder {self.folder} cannot be made: {error.strerror}; "
                "give another one under state:, or the right to write there"
            )
            raise UserError(msg) from error

    def _keep_evidence(self, outbox: Outbox) -> Evidence | None:
        """Open the evidence, where pictures are wanted; it is looked through beside the start."""
        asked = self.config.evidence
        if asked is None:
            return None
        seconds = self.metrics.evidence_seconds
        evidence = Evidence(
            self.folder / asked.folder,
            asked,
            slots=self.config.slots(),
            stored=outbox.documents,
            on_seconds=lambda step, took: seconds.labels(step).observe(took),
        )
        evidence.start()
        return evidence

    def _load_engines(self) -> Iterator[tuple[str, Engine]]:
        for stage, name in stages_of(self.config.engine):
            self.health.step = f"loading engine {name}"
            try:
                engine = load_asked(name, self.config.engine)
            except EngineError as error:
                msg = f"the station cannot serve: {error}"
                raise UserError(msg) from error
            info = engine.info
            _log.info(
                "engine ready",
                stage=stage,
                engine=f"{info.name} {info.version}",
                runtime=info.runtime,
                precision=info.precision,
            )
            if engine.degraded:
                _log.warning("engine degraded", stage=stage, reason=engine.degraded)
            yield stage, engine

    def _connect(self, outbox: Outbox) -> None:
        """Capture feeds judge, judge feeds rulings; each end knows only its neighbour's door."""
        asked = self.config.engine
        rulings = Rulings(self.config, self._documents, outbox, self.metrics, self._evidence)
        camera_events = CameraEvents(self._documents, rulings.tell_of_camera, rulings.lost_cameras)

        def on_verdict(frame: Frame, verdict: Verdict) -> None:
            late = triggers.claim(frame)
            release = partial(capture.release, frame, result_of(verdict))
            try:
                rulings.rule(frame, verdict, capture.counters, release, late)
            finally:
                triggers.answer(frame, verdict, reject=rulings.rejects(frame, verdict))

        def on_change(status: CameraStatus) -> None:
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
        )
        triggers = Triggers(capture, self.config.mode, self.metrics)
        judge = Judge(
            capture,
            self._engines["screen"],
            self._engines.get("confirm"),
            max_batch=asked.max_batch,
            max_delay_s=asked.max_delay_ms / 1e3,
            confirm_within_s=asked.confirm_within_ms / 1e3,
            on_verdict=on_verdict,
        )
        self._rulings, self._capture, self._judge = rulings, capture, judge
        self._triggers = triggers
        lineup = Lineup(self.config, capture, rulings, camera_events, self.metrics, self._evidence)
        self._make_reloads(lineup)
        self.health.watch(
            [
                Loop("judge", judge.progress_ns, LOOP_LIMIT_S),
                Loop("capture", capture.progress_ns, LOOP_LIMIT_S),
                Loop("outbox", outbox.progress_ns, LOOP_LIMIT_S),
                Loop("triggers", triggers.progress_ns, LOOP_LIMIT_S),
            ],
            lambda: self._facts(outbox, capture),
        )
        triggers.start()
        judge.start()
        capture.start()

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
        for engine in self._engines.values():
            engine.close()
        self._web.stop()

    def _flush(self, left: Callable[[float], float]) -> None:
        """Bring events to the disk, and beside their pictures."""
        if self._outbox is not None:
            self._tell_status(self._outbox)
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
        if self._evidence is not None:
            self._evidence.settle(min(1.0, left(4)))  # no event waits for its picture any more
        if self._capture is not None:
            self._capture.close()

    @property
    def ended(self) -> bool:
        """Every camera has come to its end (files, folders) and every frame is judged."""
        return self._capture is not None and self._capture.ended

    def status(self) -> dict[str, Any]:
        """Everything there is to know of the station now, as JSON-able data without secrets."""
        engines = {
            stage: asdict(engine.info) | {"reason": engine.degraded}
            for stage, engine in self._engines.items()
        }
        cameras = self._capture.status() if self._capture is not None else {}
        return {
            "station": self.config.station,
            "version": __version__,
            "mode": self.config.mode,
            "phase": self.health.phase.value,
            "step": self.health.step,
            "engines": engines,
            "cameras": {
                name: _plain(camera) | self._quality(name) for name, camera in cameras.items()
            },
            "outbox": self._outbox.stats().to_json() if self._outbox is not None else None,
            "broker": asdict(self._publisher.status()) if self._publisher else {"state": "off"},
            "evidence": asdict(self._evidence.stats()) if self._evidence is not None else None,
            "free_bytes": shutil.disk_usage(self.folder).free if self.folder.exists() else 0,
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
        return self._triggers.ask(camera, part_id)

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
        stats = outbox.stats()
        yield Fact(
            "outbox", stats.fault is None, stats.fault or f"{stats.waiting} events wait", gates=True
        )
        if stats.parked:
            parked = f"{stats.parked} refused by the broker for good: inspector events parked"
            yield Fact("parked events", ok=False, detail=parked)
        if self._evidence is not None:
            kept = self._evidence.stats()
            detail = kept.fault or f"{kept.files} pictures, {kept.bytes // 1_000_000} MB"
            yield Fact("evidence", kept.fault is None, detail)
        fault = self._rulings.engine_fault if self._rulings is not None else None
        if fault is not None:
            yield Fact("judging", ok=False, detail=fault, gates=True)
        for stage, engine in self._engines.items():
            info = engine.info
            detail = f"{info.name} {info.version}, {info.runtime} {info.precision}"
            yield Fact(f"engine {stage}", engine.degraded is None, engine.degraded or detail)
        if self._publisher is None:
            yield Fact("broker", ok=True, detail="off: events stay in the outbox")
        else:
            broker = self._publisher.status()
            yield Fact("broker", broker.state == "connected", broker.reason or broker.state)
            for topic, reason in broker.blocked.items():
                yield Fact(f"topic {topic}", ok=False, detail=reason)
        if self._reloads is not None:
            yield from self._reloads.facts()
        for name, camera in capture.status().items():
            up = camera.state in {"running", "ended"}
            detail = ": ".join(part for part in (camera.state, camera.detail) if part)
            yield Fact(f"camera {name}", up, detail)

    def _serve(self, phase: Phase, step: str) -> None:
        self.health.phase, self.health.step = phase, step
        _log.info(step, station=self.config.station)

    def _beat(self) -> None:
        while self._outbox is not None and not self._stopping.wait(self.config.events.heartbeat_s):
            self._tell_status(self._outbox)

    def _tell_status(self, outbox: Outbox) -> None:
        try:
            outbox.append([self._heartbeat(outbox)])
        except Exception:  # noqa: BLE001 - no heartbeat must end the next ones, or a stop half way
            _log.warning("a heartbeat could not be written", exc_info=True)

    def _heartbeat(self, outbox: Outbox) -> Event:
        report = self.health.ready()
        cameras = self.status()["cameras"]
        screen = self._engines.get("screen")
        return self._documents.station_status(
            version=__version__,
            started_utc_ns=self._started_utc_ns,
            uptime_s=(time.monotonic_ns() - self._started_ns) / 1e9,
            ready=report.ok,
            reasons=[f"{fact.name}: {fact.detail}" for fact in report.facts if not fact.ok],
            cameras={name: camera_entry(camera) for name, camera in cameras.items()},
            engine=screen.info if screen is not None else None,
            outbox=outbox.stats().to_json(),
        )


def _plain(camera: CameraStatus) -> dict[str, Any]:
    return asdict(camera) | {"since_utc": camera.since_utc.isoformat()}
