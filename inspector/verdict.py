"""The verdict on a frame, and the rule that makes it from probabilities.

Pure: no clock, no input or output. The rule lies here, and not in a stage, since the cascade of the
engine stage and the policies of the decision stage both speak of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Outcome(StrEnum):
    """What is said of a frame."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    UNCERTAIN = "uncertain"
    UNJUDGEABLE = "unjudgeable"


class Cause(StrEnum):
    """Why a frame is unjudgeable."""

    DECODE = "decode"
    TOO_SMALL = "too_small"
    TOO_LARGE = "too_large"
    ENGINE_ERROR = "engine_error"


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """Which engine judged: enough to repeat the judgement years later.

    `sha256` is the digest of the model file of that precision. `degraded` means that another
    runtime than the one asked for is serving.
    """

    name: str
    version: str
    sha256: str
    runtime: str
    precision: str
    degraded: bool = False


@dataclass(frozen=True, slots=True)
class Thresholds:
    """An engine's own thresholds, from its manifest.

    Attributes:
        accept: least probability of all acceptable labels together to accept a frame.
        reject: for each other label, as the most probable one, the least probability of all that
            are not acceptable together to reject a frame.
    """

    acceptable: frozenset[str]
    accept: float
    reject: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one engine, or the cascade of both, says of one frame.

    Attributes:
        outcome: the verdict.
        label: the most probable label; None if unjudgeable.
        probabilities: label to probability, in the engine's class order; empty if unjudgeable.
        reasons: sentences for a person.
        cause: why unjudgeable, else None.
        engine: who said it; None where no engine was asked.
        confirmed: True/False where a confirming engine was to be asked and did/did not answer in
            time; None where none was needed.
        submitted_ns, judged_ns: monotonic times of handing over to the engine and of its answer.
    """

    outcome: Outcome
    label: str | None = None
    probabilities: Mapping[str, float] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()
    cause: Cause | None = None
    engine: EngineInfo | None = None
    confirmed: bool | None = None
    submitted_ns: int = 0
    judged_ns: int = 0


def outcome_of(
    probabilities: Sequence[float], classes: Sequence[str], thresholds: Thresholds
) -> tuple[Outcome, str, tuple[str, ...]]:
    """Apply the verdict rule to one frame's joined probabilities.

    The label is the arg max. Whether the frame is good is another question than which fault it has:
    a blurred frame may be split between two kinds of blur and still be certainly no good one. So a
    label that is acceptable accepts from `accept` on, and another rejects from its threshold on, by
    what its whole side has; all else is uncertain.

    Args:
        probabilities: C values in the order of `classes`, summing to 1.
        classes: the engine's C labels.
        thresholds: the engine's own.

    Returns:
        Outcome, label and reasons.

    >>> t = Thresholds(frozenset({"refimgs"}), accept=0.5, reject={"gblur": 0.9, "wn": 0.9})
    >>> outcome_of([0.6, 0.35, 0.05], ["gblur", "wn", "refimgs"], t)[:2]
    (<Outcome.REJECTED: 'rejected'>, 'gblur')
    >>> outcome_of([0.6, 0.1, 0.3], ["gblur", "wn", "refimgs"], t)[:2]
    (<Outcome.UNCERTAIN: 'uncertain'>, 'gblur')
    """
    best = max(range(len(classes)), key=lambda i: probabilities[i])
    label, p = classes[best], float(probabilities[best])
    good = label in thresholds.acceptable
    fine = sum(float(probabilities[i]) for i, c in enumerate(classes) if c in thresholds.acceptable)
    side, limit = (fine, thresholds.accept) if good else (1.0 - fine, thresholds.reject[label])
    what = f"{label} {p:.3f}"
    if round(side, 3) != round(p, 3):
        what += f", {'acceptable' if good else 'not acceptable'} in all {side:.4f}"
    if side < limit:
        word = "accept" if good else "reject"
        return Outcome.UNCERTAIN, label, (f"{what}: below the {word} threshold {limit:.4g}",)
    outcome = Outcome.ACCEPTED if good else Outcome.REJECTED
    return outcome, label, (f"{what}, threshold {limit:.4g}",)
