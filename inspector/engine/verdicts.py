"""From answers to verdicts: joining a frame's tiles, and saying why there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inspector.engine.tiling import join
from inspector.verdict import Cause, Outcome, Verdict, outcome_of

if TYPE_CHECKING:
    from inspector.engine.jobs import Job
    from inspector.verdict import EngineInfo


def judged(job: Job) -> Verdict:
    """The verdict on a frame whose tiles were answered (`job.error` is None), by who answered."""
    engine = job.engine
    manifest = engine.manifest
    joined = join(job.rows, manifest.sampling.join, manifest.acceptable_columns)
    probabilities = [float(p) for p in joined]
    outcome, label, reasons = outcome_of(probabilities, manifest.classes, engine.thresholds)
    return Verdict(
        outcome=outcome,
        label=label,
        probabilities=dict(zip(manifest.classes, probabilities, strict=True)),
        reasons=reasons,
        engine=engine.info,
        submitted_ns=job.submitted_ns,
        judged_ns=job.answered_ns,
    )


def unjudgeable(
    cause: Cause,
    reason: str,
    *,
    now_ns: int,
    engine: EngineInfo | None = None,
    submitted_ns: int | None = None,
) -> Verdict:
    """The verdict on a frame that no engine could judge.

    Args:
        cause: for programs.
        reason: for people.
        now_ns: monotonic time of saying so.
        engine: the one that failed, if one was asked.
        submitted_ns: when it was handed over; `now_ns` if it never was.
    """
    return Verdict(
        outcome=Outcome.UNJUDGEABLE,
        reasons=(reason,),
        cause=cause,
        engine=engine,
        submitted_ns=now_ns if submitted_ns is None else submitted_ns,
        judged_ns=now_ns,
    )
