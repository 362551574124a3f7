"""Probes: what gates, what is only reported."""

from __future__ import annotations

from inspector.observe.health import Fact, Health, Loop, Phase

SECOND_NS = 1_000_000_000


class Clock:
    """A monotonic clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now_ns = 100 * SECOND_NS

    def __call__(self) -> int:
        return self.now_ns


def test_a_loop_that_stands_still_ends_liveness_and_says_which() -> None:
    clock = Clock()
    turned_ns = {"judge": clock.now_ns, "capture": clock.now_ns}
    health = Health(clock)
    health.watch(
        [Loop(name, lambda name=name: turned_ns[name], limit_s=5) for name in turned_ns], tuple
    )
    assert health.live().ok
    clock.now_ns += 6 * SECOND_NS
    turned_ns["capture"] = clock.now_ns
    report = health.live()
    assert not report.ok
    assert [fact.name for fact in report.facts if not fact.ok] == ["judge"]
    assert "6.0 s ago, limit 5 s" in report.facts[0].detail


def test_a_loop_that_has_not_begun_is_not_dead() -> None:
    health = Health(Clock())
    health.watch([Loop("judge", lambda: 0, limit_s=5)], tuple)
    assert health.live().ok


def test_ready_only_while_serving_and_only_gating_facts_count() -> None:
    facts = [Fact("camera infeed", ok=False, detail="lost: refused")]
    health = Health()
    health.watch([], lambda: facts)
    assert not health.ready().ok
    health.phase = Phase.SERVING
    assert health.ready().ok
    facts.append(Fact("outbox", ok=False, detail="disk full", gates=True))
    assert not health.ready().ok
    facts.pop()
    health.phase = Phase.STOPPING
    assert not health.ready().ok


def test_started_stays_true_while_stopping() -> None:
    health = Health()
    assert not health.started().ok
    health.phase = Phase.STOPPING
    assert health.started().ok


def test_the_document_names_every_fact() -> None:
    health = Health()
    health.step = "loading engine simplenet"
    assert health.started().document() == {
        "ok": False,
        "phase": "starting",
        "facts": [
            {"name": "start", "ok": False, "gates": True, "detail": "loading engine simplenet"}
        ],
    }
