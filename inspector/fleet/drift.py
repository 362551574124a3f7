"""Has the rate of a label changed? A comparison that a few frames, or one bad hour, cannot fool.

Rejects come in bursts: one fouled lens is a thousand of them, not a thousand independent facts. So
hours are compared, not frames: the last day with the days before, for each camera and label, in two
ways.

**Rates.** r = count / judged of each side, on a log scale, as quasi-Poisson counts:

    log(r1/r0), variance = f1/(x1 + 1/2) + f0/(x0 + 1/2)

where x are the counts (with half a frame added, so that none is zero) and f >= 1 is the dispersion
of a side's hours around its own rate (Pearson's chi squared over its degrees of freedom; 1 where
frames are independent, a thousand where they come a thousand at a time). A side that has rejects in
few hours cannot know its dispersion: it gets the other's if that is greater. The interval of
the ratio is that of Student's t with Welch and Satterthwaite's degrees of freedom; the rate has
changed where it leaves out 1.

**Hours.** How many hours of each side had the label at all, by Fisher's exact test: a label that
was never there before, and now is in every other hour, however many at a time.

Either is asked at a level that leaves 1 % for false alarms of all cameras and labels together
(Bonferroni). And the rate must have changed by half, and by one in a thousand frames. With less
than the bounds below nothing is said at all.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

HOURS_NOW = 24
LEAST_HOURS_NOW, LEAST_HOURS_BEFORE = 6, 12
"""Hours with frames in them, on either side."""
LEAST_JUDGED = 200
"""Frames, on either side."""
LEAST_COUNT = 10
"""Frames of the label, on both sides together."""
TRUSTED_HOURS = 12
"""So many hours with the label tell how it comes: evenly, or all at once."""
LEAST_FACTOR = 1.5
LEAST_CHANGE = 0.001
LEVEL = 0.01

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Drift:
    """A label whose rate has changed.

    Attributes:
        row, label: which camera, which label, as numbers of the arrays' axes.
        now, before: share of the judged frames.
        factor: how many times as often.
        low, high: the interval around it; None where the hours alone tell.
    """

    row: int
    label: int
    now: float
    before: float
    factor: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Drifts:
    """What was found.

    Attributes:
        found: greatest change first.
        cameras: rows with frames enough to say something.
        too_little: rows that have judged, and not enough.
    """

    found: tuple[Drift, ...]
    cameras: int
    too_little: int


def find_drifts(judged: NDArray[np.int64], counts: NDArray[np.int64]) -> Drifts:
    """Compare the last day with what was before.

    Args:
        judged: rows x hours, oldest first; frames judged.
        counts: rows x hours x labels; frames rejected for each label.
    """
    if judged.shape[1] <= HOURS_NOW:
        return Drifts((), 0, int((judged.sum(axis=1) > 0).sum()))
    split = judged.shape[1] - HOURS_NOW
    n = judged.astype(np.float64)
    # More rejects than judged frames in an hour: its heartbeat fell into the next one.
    n = np.maximum(n, counts.sum(axis=2))
    x = counts.astype(np.float64)
    before, now = _Side(n[:, :split], x[:, :split]), _Side(n[:, split:], x[:, split:])
    enough = (
        (now.hours >= LEAST_HOURS_NOW)
        & (before.hours >= LEAST_HOURS_BEFORE)
        & (now.judged >= LEAST_JUDGED)
        & (before.judged >= LEAST_JUDGED)
    )
    asked = enough[:, None] & (now.count + before.count >= LEAST_COUNT)
    tests = max(1, int(asked.sum()))
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = now.smooth_rate / before.smooth_rate
        changed = np.maximum(factor, 1 / factor) >= LEAST_FACTOR
        changed &= np.abs(now.rate - before.rate) >= LEAST_CHANGE
    found = []
    for row, label in np.argwhere(asked & changed):
        interval = _interval(before, now, row, label, LEVEL / tests / 4)
        if interval is None and _tail(before, now, row, label) > LEVEL / tests / 4:
            continue
        low, high = interval or (None, None)
        found.append(
            Drift(
                int(row),
                int(label),
                float(now.rate[row, label]),
                float(before.rate[row, label]),
                float(factor[row, label]),
                low,
                high,
            )
        )
    found.sort(key=lambda drift: -abs(math.log(drift.factor)))
    some = int((n.sum(axis=1) > 0).sum())
    return Drifts(tuple(found), int(enough.sum()), some - int(enough.sum()))


class _Side:
    """One period: rows x hours of judged frames, rows x hours x labels of counts."""

    def __init__(self, judged: Numbers, counts: Numbers) -> None:
        self.hours: Numbers = (judged > 0).sum(axis=1).astype(np.float64)
        self.judged: Numbers = judged.sum(axis=1)
        self.count: Numbers = counts.sum(axis=1)
        exposure = self.judged[:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            self.rate: Numbers = np.where(exposure > 0, self.count / exposure, 0.0)
            self.smooth_rate: Numbers = np.where(exposure > 0, (self.count + 0.5) / exposure, 1.0)
            expected = judged[:, :, None] * self.rate[:, None, :]
            square = np.where(expected > 0, (counts - expected) ** 2 / expected, 0.0)
            dispersion = square.sum(axis=1) / np.maximum(self.hours - 1, 1)[:, None]
        self.dispersion: Numbers = np.maximum(dispersion, 1.0)
        self.with_label: NDArray[np.int64] = (counts > 0).sum(axis=1)

    def variance(self, row: int, label: int, other: _Side) -> float:
        """Of the logarithm of the rate."""
        dispersion = self.dispersion[row, label]
        if self.with_label[row, label] < TRUSTED_HOURS:
            dispersion = max(dispersion, other.dispersion[row, label])
        return float(dispersion / (self.count[row, label] + 0.5))


def _interval(
    before: _Side, now: _Side, row: int, label: int, tail: float
) -> tuple[float, float] | None:
    """The interval of the ratio of the rates, if it leaves out 1; `tail` lies on either side."""
    v1, v0 = now.variance(row, label, before), before.variance(row, label, now)
    freedom = (v1 + v0) ** 2 / (v1**2 / (now.hours[row] - 1) + v0**2 / (before.hours[row] - 1))
    half = student_t(1 - tail, freedom) * math.sqrt(v1 + v0)
    middle = math.log(now.smooth_rate[row, label] / before.smooth_rate[row, label])
    return None if abs(middle) <= half else (math.exp(middle - half), math.exp(middle + half))


def _tail(before: _Side, now: _Side, row: int, label: int) -> float:
    """Fisher's exact test of the hours with the label: the tail on the side where they are."""
    n1, n0 = int(now.hours[row]), int(before.hours[row])
    k1, k0 = int(now.with_label[row, label]), int(before.with_label[row, label])
    k1, k0 = min(k1, n1), min(k0, n0)
    k = k1 + k0
    more = k1 * n0 >= k0 * n1
    ways = range(k1, min(k, n1) + 1) if more else range(max(0, k - n0), k1 + 1)
    return sum(math.comb(n1, i) * math.comb(n0, k - i) for i in ways) / math.comb(n1 + n0, k)


def student_t(p: float, freedom: float) -> float:
    """The quantile of Student's t for p >= 0.5; `freedom` may be broken, and is 3 at least.

    G. W. Hill, Algorithm 396, Communications of the ACM 13 (1970), 619.

    >>> round(student_t(0.975, 10), 3)
    2.228
    """
    two_tails = 2 * (1 - p)
    n = max(freedom, 3.0)
    a = 1 / (n - 0.5)
    b = (48 / a) / a
    c = ((20700 * a / b - 98) * a - 16) * a + 96.36
    d = ((94.5 / (b + c) - 3) / b + 1) * math.sqrt(a * math.pi / 2) * n
    y = (d * two_tails) ** (2 / n)
    if y > a + 0.05:
        x = statistics.NormalDist().inv_cdf(two_tails / 2)
        y = x * x
        if n < 5:  # noqa: PLR2004 - of the algorithm, as all numbers here
            c += 0.3 * (n - 4.5) * (x + 0.6)
        c += (((0.05 * d * x - 5) * x - 7) * x - 2) * x + b
        y = (((((0.4 * y + 6.3) * y + 36) * y + 94.5) / c - y - 3) / b + 1) * x
        y = math.expm1(a * y * y)
    else:
        y = (
            (1 / (((n + 6) / (n * y) - 0.089 * d - 0.822) * (n + 2) * 3) + 0.5 / (n + 4)) * y - 1
        ) * (n + 1) / (n + 2) + 1 / y
    return math.sqrt(n * y)
