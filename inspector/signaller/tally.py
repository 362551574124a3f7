"""What became of the records."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from prometheus_client.metrics_core import Metric

_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


class Tally:
    """Counts of one signaller, and its metrics. Counted by one thread, read by any.

    Attributes:
        ended: signals that came to an end, by camera and how: `acknowledged`, `reset` (the PLC
            cleared it without acknowledging), `too_late` (its deadline passed on the way).
        old: rejects that were older than their deadline and were not signalled, by camera.
        ignored: records that are none to be signalled, by reason; `poison` among them.
        repeats: signals that went again under their sequence.
    """

    def __init__(self, status: Callable[[], Mapping[str, Any]]) -> None:
        self._status = status
        self.ended: Counter[tuple[str, str]] = Counter()
        self.old: Counter[str] = Counter()
        self.ignored: Counter[str] = Counter()
        self.faults: Counter[tuple[str, str]] = Counter()
        self.repeats = 0
        self._registry = CollectorRegistry()
        self.seconds = Histogram(
            "inspector_line_seconds",
            "From the capture of a frame to its signal on the wire",
            ["camera"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._registry.register(self)

    def document(self) -> dict[str, Any]:
        """All counts, as JSON-able data."""
        return {
            "signals": {f"{camera} {how}": count for (camera, how), count in self.ended.items()},
            "old": dict(self.old),
            "ignored": dict(self.ignored),
            "repeats": self.repeats,
        }

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """What Prometheus reads."""
        status = self._status()
        yield _counter("line_signals", "Signals that ended", ("camera", "end"), self.ended)
        old = {(camera,): count for camera, count in self.old.items()}
        yield _counter("line_old", "Rejects older than their deadline", ("camera",), old)
        ignored = {(reason,): count for reason, count in self.ignored.items()}
        yield _counter("line_ignored", "Records not to be signalled", ("reason",), ignored)
        yield _counter("line_faults", "Faults of the line", ("camera", "cause"), self.faults)
        up = status["line"] is not None and status["line"]["state"] == "connected"
        yield GaugeMetricFamily("inspector_line_up", "1 while the PLC is connected", float(up))
        if status["line"] is not None:
            told = ("normal", "reject", "stop").index(status["line"]["safe"])
            text = "What the PLC is told: 0 normal, 1 reject everything, 2 stop"
            yield GaugeMetricFamily("inspector_line_safe", text, float(told))
        active = status["role"] == "active"
        yield GaugeMetricFamily("inspector_line_active", "0 while it stands by", float(active))
        broker = GaugeMetricFamily("inspector_broker_up", "1 while the broker can be read")
        broker.add_metric([], float(status["broker"]["up"]))
        yield broker


def _counter(name: str, text: str, labels: tuple[str, ...], counts: Mapping[Any, int]) -> Metric:
    family = CounterMetricFamily(f"inspector_{name}", text, labels=labels)
    for values, count in tuple(counts.items()):
        family.add_metric(values, count)
    return family
