"""What is well with a station and what is not: the facts behind its readiness."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inspector.observe.health import Fact

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inspector.capture.supervisor import Capture
    from inspector.events.outbox import Outbox
    from inspector.events.publisher import Publisher
    from inspector.evidence.store import Evidence
    from inspector.ruling import Rulings


UNJUDGED_S = 10.0
"""A camera of which nothing could be judged for so long is not well: one bad frame is no fault."""


def of_outbox(outbox: Outbox) -> Iterator[Fact]:
    """Whether events are kept, and whether the broker refused some."""
    stats = outbox.stats()
    yield Fact(
        "outbox", stats.fault is None, stats.fault or f"{stats.waiting} events wait", gates=True
    )
    if stats.parked:
        parked = f"{stats.parked} refused by the broker for good: inspector events parked"
        yield Fact("parked events", ok=False, detail=parked)


def of_evidence(evidence: Evidence | None) -> Iterator[Fact]:
    """Whether pictures are kept, where they are wanted."""
    if evidence is not None:
        kept = evidence.stats()
        detail = kept.fault or f"{kept.files} pictures, {kept.bytes // 1_000_000} MB"
        yield Fact("evidence", kept.fault is None, detail)


def of_judging(rulings: Rulings | None) -> Iterator[Fact]:
    """Why frames are not judged, if they are not."""
    fault = rulings.engine_fault if rulings is not None else None
    if fault is not None:
        yield Fact("judging", ok=False, detail=fault, gates=True)


def of_broker(publisher: Publisher | None) -> Iterator[Fact]:
    """Whether the broker takes events, and into which topics it does not."""
    if publisher is None:
        yield Fact("broker", ok=True, detail="off: events stay in the outbox")
        return
    broker = publisher.status()
    yield Fact("broker", broker.state == "connected", broker.reason or broker.state)
    for topic, reason in broker.blocked.items():
        yield Fact(f"topic {topic}", ok=False, detail=reason)


def of_cameras(capture: Capture, rulings: Rulings | None) -> Iterator[Fact]:
    """Which cameras give pictures, and such as can be judged."""
    for name, camera in capture.status().items():
        up = camera.state in {"running", "ended"}
        detail = ": ".join(part for part in (camera.state, camera.detail) if part)
        unjudged = rulings.unjudged(name) if rulings is not None else None
        if camera.state == "running" and unjudged and unjudged.seconds >= UNJUDGED_S:
            up = False
            detail = (
                f"running, but none of its frames of the last {unjudged.seconds:.0f} s could be "
                f"judged: {unjudged.why}"
            )
        yield Fact(f"camera {name}", up, detail)
