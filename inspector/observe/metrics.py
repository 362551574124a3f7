"""Prometheus metrics of the station, prefix `inspector_`, base units.

Counts that a stage keeps itself (frames by result, reconnects, outbox) are read from the status
document when Prometheus asks; only what has no other home (durations, verdicts) is kept here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.process_collector import ProcessCollector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from prometheus_client.metrics_core import Metric

    from inspector.observe.health import Health

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """All metrics of one station. Thread-safe.

    Args:
        status: makes the station's status document (`Station.status`).
        health: answers whether the station is ready and its loops turn; None: not told.
    """

    def __init__(
        self, status: Callable[[], Mapping[str, Any]], health: Health | None = None
    ) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a time stamp beside every histogram says nothing to anyone
        self._registry = CollectorRegistry()
        self.frame_age_seconds = Histogram(
            "inspector_frame_age_seconds",
            "Age of a frame when its verdict was there, from its arrival",
            ["camera"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.stage_seconds = Histogram(
            "inspector_stage_seconds",
            "Time a frame spent in a stage: decode, wait, judge, decide, store",
            ["stage"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.verdicts_total = Counter(
            "inspector_verdicts_total",
            "Verdicts",
            ["camera", "verdict", "label"],
            registry=self._registry,
        )
        self.unconfirmed_total = Counter(
            "inspector_unconfirmed_total",
            "Verdicts of the screen that stand since the confirming engine gave none in time",
            ["camera"],
            registry=self._registry,
        )
        self.triggers_total = Counter(
            "inspector_triggers_total",
            "Triggers by their answer: the verdict, or why there was none",
            ["camera", "result"],
            registry=self._registry,
        )
        self.trigger_seconds = Histogram(
            "inspector_trigger_seconds",
            "From a trigger to its answer",
            ["camera"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.publish_seconds = Histogram(
            "inspector_publish_seconds",
            "From handing a record to the broker's client to its acknowledgement",
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.commit_seconds = Histogram(
            "inspector_commit_seconds",
            "One transaction of the outbox, its fsync included",
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.evidence_seconds = Histogram(
            "inspector_evidence_seconds",
            "Time a picture took in a step of being kept: encode, write",
            ["step"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.signal_seconds = Histogram(
            "inspector_signal_seconds",
            "From a verdict to valid on the wire to the PLC",
            ["camera"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.line_faults_total = Counter(
            "inspector_line_faults_total",
            "Faults of the line by cause; without a camera those of the line as a whole",
            ["camera", "cause"],
            registry=self._registry,
        )
        self._registry.register(_StatusCollector(status))
        if health is not None:
            self._registry.register(_HealthCollector(health))
        ProcessCollector(registry=self._registry)

    def forget(self, camera: str) -> None:
        """Drop the series of a camera that is gone; if it returns, they begin at zero."""
        of_cameras = (self.frame_age_seconds, self.verdicts_total, self.unconfirmed_total)
        of_triggers = (self.triggers_total, self.trigger_seconds)
        of_line = (self.signal_seconds, self.line_faults_total)
        for metric in (*of_cameras, *of_triggers, *of_line):
            metric.remove_by_labels({"camera": camera})

    def exposition(self) -> bytes:
        """The metrics in Prometheus' text format."""
        return generate_latest(self._registry)


class _StatusCollector:
    """Turns the station's status document into metrics at each scrape."""

    def __init__(self, status: Callable[[], Mapping[str, Any]]) -> None:
        self._status = status

    def describe(self) -> list[Metric]:
        return []  # nothing to check for clashes: keeps registration from asking for a status

    def collect(self) -> Iterator[Metric]:
        status = self._status()
        yield from _camera_metrics(status["cameras"])
        yield from _engine_metrics(status["engines"])
        yield from _broker_metrics(status["broker"])
        if status["outbox"] is not None:
            yield from _events_metrics(status["outbox"])
        if status.get("line") is not None:
            yield from _line_metrics(status["line"])
        evidence = status.get("evidence")
        free = GaugeMetricFamily(
            "inspector_evidence_free_bytes",
            "Free space where evidence is kept; without evidence, where the station's state is",
        )
        free_bytes = evidence["free_bytes"] if evidence is not None else None
        if free_bytes is None:
            free_bytes = status["free_bytes"]
        if free_bytes is not None:  # a disk that does not say is not a full one
            free.add_metric([], free_bytes)
        yield free
        if evidence is not None:
            yield from _evidence_metrics(evidence)


class _HealthCollector:
    """What the probes tell, for alerts."""

    def __init__(self, health: Health) -> None:
        self._health = health

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        ready = GaugeMetricFamily(
            "inspector_ready", "1 while frames are judged and events kept, as /readyz answers"
        )
        ready.add_metric([], float(self._health.ready().ok))
        yield ready
        idle = GaugeMetricFamily(
            "inspector_loop_idle_seconds",
            "Time since the last turn of a loop that must turn",
            labels=["loop"],
        )
        for loop, idle_s in self._health.idle_s().items():
            idle.add_metric([loop], idle_s)
        yield idle


def _camera_metrics(cameras: Mapping[str, Any]) -> Iterator[Metric]:
    frames = CounterMetricFamily(
        "inspector_frames_total",
        "Frames by what became of them; result=in counts all that arrived",
        labels=["camera", "result"],
    )
    in_flight = GaugeMetricFamily(
        "inspector_frames_in_flight", "Frames between arrival and verdict", labels=["camera"]
    )
    up = GaugeMetricFamily(
        "inspector_camera_up",
        "1 while pictures arrive; absent once a file or folder is at its end",
        labels=["camera"],
    )
    degraded = GaugeMetricFamily(
        "inspector_camera_degraded", "1 while the camera's pictures are bad", labels=["camera"]
    )
    reconnects = CounterMetricFamily(
        "inspector_reconnects_total", "Connections that ended, by cause", labels=["camera", "cause"]
    )
    parts = CounterMetricFamily(
        "inspector_parts_total", "Parts that reached the barrier in the picture", labels=["camera"]
    )
    for name, camera in cameras.items():
        counters = camera["counters"]
        if camera["on_motion"]:
            parts.add_metric([name], counters["parts"])
        frames.add_metric([name, "in"], counters["frames_in"])
        frames.add_metric([name, "judged"], counters["judged"])
        for cause, count in counters["dropped"].items():
            frames.add_metric([name, cause], count)
        in_flight.add_metric([name], counters["in_flight"])
        if camera["state"] != "ended":
            up.add_metric([name], float(camera["state"] == "running"))
        degraded.add_metric([name], float(camera["quality"] == "degraded"))
        for cause, count in camera["restarts"].items():
            reconnects.add_metric([name, cause], count)
    yield from (frames, in_flight, up, degraded, reconnects, parts)


def _engine_metrics(engines: Mapping[str, Any]) -> Iterator[Metric]:
    labels = ["stage", "name", "version", "sha256", "runtime", "precision"]
    info = GaugeMetricFamily("inspector_engine_info", "The engines that serve", labels=labels)
    degraded = GaugeMetricFamily(
        "inspector_degraded", "1 while another runtime serves than was asked for"
    )
    building = GaugeMetricFamily(
        "inspector_plan_building",
        "1 while degraded for nothing else than that a plan is built for the first time",
    )
    changes = CounterMetricFamily(
        "inspector_engine_changes_total",
        "Changes of the engine that judges: activated, rolled back, lost, restored",
        labels=["stage", "change"],
    )
    for stage, engine in engines.items():
        info.add_metric([stage, *(str(engine[key]) for key in labels[1:])], 1.0)
        for word, count in engine["changes"].items():
            changes.add_metric([stage, word], count)
    stand_ins = [engine for engine in engines.values() if engine["degraded"]]
    degraded.add_metric([], float(bool(stand_ins)))
    building.add_metric([], float(bool(stand_ins) and all(map(_is_built_for, stand_ins))))
    yield from (info, degraded, building, changes)


def _is_built_for(engine: Mapping[str, Any]) -> bool:
    """Whether a plan is on its way to an engine, and none has failed before."""
    plan = engine["plan"]
    under_way = plan is not None and plan["state"] in {"waiting", "building", "proving"}
    return under_way and not plan["failures"]


def _broker_metrics(broker: Mapping[str, Any]) -> Iterator[Metric]:
    up = GaugeMetricFamily("inspector_broker_up", "1 while the broker takes events; absent if off")
    if broker["state"] != "off":
        up.add_metric([], float(broker["state"] == "connected"))
    yield up
    state = GaugeMetricFamily(
        "inspector_broker_state", "1 for the state the broker is in", labels=["state"]
    )
    state.add_metric([broker["state"]], 1.0)
    yield state
    blocked = GaugeMetricFamily(
        "inspector_topics_blocked", "Topics that cannot be used; their events wait"
    )
    blocked.add_metric([], len(broker.get("blocked", ())))
    yield blocked


def _events_metrics(outbox: Mapping[str, Any]) -> Iterator[Metric]:
    gauges = {
        "inspector_outbox_events": ("Events that wait for the broker", "waiting"),
        "inspector_outbox_oldest_seconds": ("Age of the oldest waiting event", "oldest_s"),
        "inspector_outbox_bytes": ("Space that all events in the outbox take", "bytes"),
        "inspector_outbox_max_bytes": ("The bound of inspector_outbox_bytes", "max_bytes"),
    }
    for name, (text, key) in gauges.items():
        gauge = GaugeMetricFamily(name, text)
        gauge.add_metric([], outbox[key])
        yield gauge
    writable = GaugeMetricFamily("inspector_outbox_writable", "0 while the disk takes no events")
    writable.add_metric([], float(outbox["fault"] is None))
    yield writable
    counters = {
        "inspector_parked_total": ("Events that the broker refused for good", "parked_total"),
        "inspector_published_total": ("Events that the broker acknowledged", "sent_total"),
        "inspector_shed_total": ("Events given up because the outbox was full", "shed_total"),
    }
    for name, (text, key) in counters.items():
        counter = CounterMetricFamily(name, text)
        counter.add_metric([], outbox[key])
        yield counter


def _line_metrics(line: Mapping[str, Any]) -> Iterator[Metric]:
    up = GaugeMetricFamily("inspector_line_up", "1 while the PLC answers")
    up.add_metric([], float(line["state"] == "connected"))
    safe = GaugeMetricFamily(
        "inspector_line_safe", "What the PLC is told: 0 normal, 1 reject everything, 2 stop"
    )
    safe.add_metric([], float(("normal", "reject", "stop").index(line["safe"])))
    signals = CounterMetricFamily(
        "inspector_signals_total",
        "Parts that the PLC was told of, by what it was told",
        labels=["camera", "result"],
    )
    late = CounterMetricFamily(
        "inspector_signals_late_total",
        "Verdicts that came after the line's deadline; the PLC was told no_result",
        labels=["camera"],
    )
    gave_way = CounterMetricFamily(
        "inspector_signals_gave_way_total",
        "Parts that the PLC was never told of, since the queue was full",
        labels=["camera"],
    )
    for name, camera in line["cameras"].items():
        counters = camera["counters"]
        for result in ("accept", "reject", "uncertain", "unjudgeable", "no_result"):
            signals.add_metric([name, result], counters[result])
        late.add_metric([name], counters["late"])
        gave_way.add_metric([name], counters["gave_way"])
    yield from (up, safe, signals, late, gave_way)


def _evidence_metrics(evidence: Mapping[str, Any]) -> Iterator[Metric]:
    files = GaugeMetricFamily("inspector_evidence_files", "Pictures kept", labels=["camera"])
    size = GaugeMetricFamily(
        "inspector_evidence_bytes", "Space that kept pictures take", labels=["camera"]
    )
    written = CounterMetricFamily(
        "inspector_evidence_written_total", "Pictures written", labels=["camera"]
    )
    skipped = CounterMetricFamily(
        "inspector_evidence_skipped_total",
        "Pictures that were wanted and not kept, by cause",
        labels=["camera", "cause"],
    )
    removed = CounterMetricFamily(
        "inspector_evidence_removed_total",
        "Pictures removed: too old (age), max_mb reached (size), min_free_mb not left (free)",
        labels=["camera", "cause"],
    )
    writable = GaugeMetricFamily(
        "inspector_evidence_writable", "0 while no picture can be kept, for a fault or want of room"
    )
    writable.add_metric([], float(evidence["fault"] is None))
    for name, camera in evidence["cameras"].items():
        files.add_metric([name], camera["files"])
        size.add_metric([name], camera["bytes"])
        written.add_metric([name], camera["written"])
        for cause, count in camera["skipped"].items():
            skipped.add_metric([name, cause], count)
        for cause, count in camera["removed"].items():
            removed.add_metric([name, cause], count)
    yield from (files, size, written, skipped, removed, writable)
