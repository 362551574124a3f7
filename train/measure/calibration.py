"""Temperature, and the thresholds of acceptance and rejection.

Temperature scaling: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017. It is set
on the frames' joined probabilities, since those are what the thresholds see. Bounds of a rate are
Clopper and Pearson's (Biometrika 26, 1934), one-sided at 95 %. Frames of one scene are alike, and
count as one trial together, of which the share that is rejected counts: a sum of such shares varies
no more than one of as many trials that are all or nothing (Hoeffding, Ann. Math. Stat. 27, 1956).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from inspector.engine.tiling import Join
from train.errors import DataError
from train.measure.answers import Answers

DEFAULT_BUDGET = 0.001
_TEMPERATURES = np.geomspace(0.4, 4.0, 61)
_LEAST_REJECT = 0.5
_LEAST_ACCEPT = 0.5
_MOST_REJECT = 0.999999
_DIGITS = 6
_NAMED = 5
_CLEARANCE = 0.2
"""By this share the good label's probability has to be lower than that of the good frames which
just must not be rejected. A share, since the thresholds lie close to 1."""
_BINS = 15
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Thresholds:
    """As the engine's manifest has them; see DESIGN 5.1 for the rule that uses them."""

    accept: float
    reject: dict[str, float]
    false_reject_budget: float
    false_reject_upper_95: float
    budget_proven: bool
    good_frames_judged: int
    set_on: str


def fit_temperature(answers: Answers, how: Join) -> float:
    """The temperature with the least mean negative log likelihood of the true labels.

    Args:
        answers: At temperature 1, labels equally frequent.
        how: How the tiles of a frame are joined.
    """

    def loss(temperature: float) -> float:
        joined = answers.at_temperature(temperature).joined(how)
        own = joined[np.arange(len(joined)), answers.truth]
        return float(-np.log(np.clip(own, 1e-9, 1)).mean())

    return float(min(_TEMPERATURES, key=loss))


def expected_calibration_error(
    probabilities: NDArray[np.float32], truth: NDArray[np.int64], bins: int = _BINS
) -> float:
    """Mean gap between confidence and accuracy over equal bins of confidence, weighted by count.

    Args:
        probabilities: (F, C).
        truth: (F,) columns.
        bins: Number of bins between 0 and 1.
    """
    confidence = probabilities.max(axis=1)
    hit = probabilities.argmax(axis=1) == truth
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [
        abs(hit[place == b].mean() - confidence[place == b].mean()) * (place == b).mean()
        for b in range(bins)
        if (place == b).any()
    ]
    return float(sum(gaps))


def rate_upper_95(events: int, trials: int) -> float:
    """One-sided 95 % upper bound of a rate.

    Example:
        >>> round(rate_upper_95(0, 3000), 5)
        0.001
    """
    if trials == 0 or events >= trials:
        return 1.0
    return float(beta.ppf(0.95, events + 1, trials - events))


def false_rejects(
    joined: NDArray[np.float32], labels: tuple[str, ...], good: int, reject: dict[str, float]
) -> NDArray[np.bool_]:
    """Which frames the thresholds reject; meant for good frames, of which none should be."""
    first = joined.argmax(axis=1)
    limit = np.array([2.0 if i == good else reject[label] for i, label in enumerate(labels)])
    return 1 - joined[:, good] >= limit[first]


def refuse_shared(
    setting: Iterable[str], checking: Iterable[str], what: Literal["references", "pictures"]
) -> None:
    """Make sure that what thresholds are set on is not also what they are checked with.

    Args:
        setting: What the thresholds are set on: names of references, or where nobody knows these,
            of files.
        checking: What is to bound their false rejects, likewise.
        what: Which of the two.

    Raises:
        DataError: Names one that is in both.
    """
    shared = set(setting) & set(checking)
    if shared:
        raise DataError(
            f"{len(shared)} {what} are in both sets, {min(shared)} for one: what thresholds are set"
            " on cannot bound their false rejects; give a test set of others, as generate"
            " --split test makes it"
        )


def set_thresholds(
    setting: Answers,
    checking: Answers,
    how: Join,
    *,
    budget: float = DEFAULT_BUDGET,
    set_on: str,
    independent: int,
) -> Thresholds:
    """Set the thresholds on one set of frames and bound their false rejects on another.

    The rejection threshold is the lowest that, on `setting`, lets no more good frames be rejected
    than the budget allows. It is the same for all labels: what it is held against is how certain it
    is that the frame is no good one, whatever fault it has. Acceptance needs the good label's
    probability to exceed that of all others together.

    Args:
        setting: Frames the thresholds are set on.
        checking: Frames of other references: their false rejects give the upper bound.
        how: How tiles are joined.
        budget: Share of good frames that may be rejected.
        set_on: The data, in words.
        independent: How many independent good scenes were judged: no more count for the bound, and
            without any there is none. The budget counts as proven only from 3 / budget on, since
            that many without a false reject bound its rate.

    Raises:
        DataError: One of the sets has no good frames, or more good frames than the budget allows
            are taken for bad beyond any doubt.
    """
    for answers in (setting, checking):
        if not (answers.truth == answers.good).any():
            raise DataError(
                f"no good frames ({answers.labels[answers.good]}) among {len(answers.truth)}:"
                " thresholds cannot be set without, nor their false rejects be bound"
            )
    limit = _lowest_reject(setting, how, budget)
    reject = {label: limit for i, label in enumerate(setting.labels) if i != setting.good}
    good = checking.where(checking.truth == checking.good)
    wrong = false_rejects(good.joined(how), good.labels, good.good, reject)
    scenes = [wrong[good.source == scene].mean() for scene in set(good.source.tolist())]
    trials = min(len(scenes), independent)
    rejected = ceil(sum(scenes) * trials / len(scenes) - _ROUNDING)
    upper = rate_upper_95(rejected, trials)
    return Thresholds(
        accept=_LEAST_ACCEPT,
        reject=reject,
        false_reject_budget=budget,
        false_reject_upper_95=round(upper, 5),
        budget_proven=bool(upper <= budget and independent >= 3 / budget),
        good_frames_judged=len(good.truth),
        set_on=set_on,
    )


def _lowest_reject(answers: Answers, how: Join, budget: float) -> float:
    good = answers.where(answers.truth == answers.good)
    joined = good.joined(how)
    wrong = joined[joined.argmax(axis=1) != answers.good]
    hopeless = joined[:, answers.good] <= 1 - _MOST_REJECT
    if hopeless.sum() > int(budget * len(joined)):
        raise DataError(
            f"{hopeless.sum()} of {len(joined)} good frames are taken for bad beyond any doubt,"
            f" more than a budget of {budget:.2%} allows: are they labelled rightly?"
            f" {', '.join(good.files[hopeless][:_NAMED].tolist())}"
        )
    # Of the good frames taken for bad, the most certain ones are given up.
    fine = np.sort(wrong[:, answers.good])[int(budget * len(joined)) :]
    if not fine.size:
        return _LEAST_REJECT
    above = 1 - float(fine[0]) * (1 - _CLEARANCE)
    return round(min(max(above, _LEAST_REJECT), _MOST_REJECT), _DIGITS)
