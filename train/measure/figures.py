"""Figures of merit of a network on a set of frames, with bounds by bootstrap over references.

Frames made from one reference are not independent, so whole references are drawn again with
replacement (cluster bootstrap; Davison, Hinkley, "Bootstrap Methods and their Application", 1997).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from inspector.engine.tiling import Join
from train.measure.answers import Answers
from train.measure.calibration import expected_calibration_error

_DRAWS = 1000


def confusion(
    guessed: NDArray[np.int64], truth: NDArray[np.int64], classes: int
) -> NDArray[np.int64]:
    """(C, C) counts, rows the true label, columns the answer."""
    counts = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(counts, (truth, guessed), 1)
    return counts


def rates(counts: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sensitivity and specificity of each label from a (C, C) confusion matrix."""
    hit = np.diag(counts).astype(float)
    of_label, answered, total = counts.sum(axis=1), counts.sum(axis=0), counts.sum()
    with np.errstate(invalid="ignore", divide="ignore"):
        sensitivity = hit / of_label
        specificity = 1 - (answered - hit) / (total - of_label)
    return sensitivity, specificity


def accept_curve(
    joined: NDArray[np.float32], truth: NDArray[np.int64], good: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """ROC of telling bad frames from good ones by 1 - p(good).

    Returns:
        False reject rates, true reject rates (both ascending), and the area under them: NaN where
        there are no good frames, or no others.
    """
    bad = truth != good
    order = np.argsort(joined[:, good], kind="stable")
    score = joined[order, good]
    ends = np.append(np.flatnonzero(np.diff(score)), len(score) - 1)  # alike: rejected together
    true_rate = np.concatenate([[0.0], np.cumsum(bad[order])[ends] / max(bad.sum(), 1)])
    false_rate = np.concatenate([[0.0], np.cumsum(~bad[order])[ends] / max((~bad).sum(), 1)])
    area = float(np.trapezoid(true_rate, false_rate)) if 0 < bad.sum() < len(bad) else np.nan
    return false_rate, true_rate, area


def measure(answers: Answers, how: Join, *, seed: int = 1) -> dict[str, Any]:
    """All figures of a set, ready for JSON; None where a label has no frames.

    Args:
        answers: With labels and severities equally frequent, for figures that mean something.
        how: How tiles are joined.
        seed: Of the bootstrap.
    """
    joined = answers.joined(how)
    guessed = joined.argmax(axis=1)
    labels, classes = answers.labels, len(answers.labels)
    counts = confusion(guessed, answers.truth, classes)
    sensitivity, specificity = rates(counts)
    bounds = _bounds(guessed, answers, seed)
    hit = guessed == answers.truth
    false_rate, _, area = accept_curve(joined, answers.truth, answers.good)
    del false_rate
    severe = answers.severity >= 2
    bad_severe = severe & (answers.truth != answers.good)
    return {
        "frames": len(guessed),
        "references": len(set(answers.source.tolist())),
        "tiles_a_frame": int(answers.tiles.shape[1]),
        "join": how,
        "labels": list(labels),
        "accuracy": _rounded(hit.mean()),
        "accuracy_95": bounds["accuracy"],
        "tile_accuracy": _rounded((answers.tiles.argmax(axis=2) == answers.truth[:, None]).mean()),
        "per_label": {
            label: {
                "frames": int(counts[i].sum()),
                "sensitivity": _rounded(sensitivity[i]),
                "sensitivity_95": bounds["sensitivity"][i],
                "specificity": _rounded(specificity[i]),
                "specificity_95": bounds["specificity"][i],
            }
            for i, label in enumerate(labels)
        },
        "good_specificity_from_severity_2": _rounded(
            (guessed[bad_severe] != answers.good).mean() if bad_severe.any() else float("nan")
        ),
        "by_severity": {
            str(severity): {
                "accuracy": _rounded(hit[answers.severity == severity].mean()),
                "sensitivity": {
                    label: _rounded(hit[mask].mean())
                    for i, label in enumerate(labels)
                    if (mask := (answers.severity == severity) & (answers.truth == i)).any()
                },
            }
            for severity in sorted(set(answers.severity.tolist()))
        },
        "confusion": counts.tolist(),
        "expected_calibration_error": _rounded(expected_calibration_error(joined, answers.truth)),
        "accept_reject_area": _rounded(area),
    }


def _bounds(guessed: NDArray[np.int64], answers: Answers, seed: int) -> dict[str, Any]:
    """95 % bounds of accuracy, sensitivities and specificities; none where all is of one source."""
    classes = len(answers.labels)
    sources = sorted(set(answers.source.tolist()))
    if len(sources) == 1:
        none: list[None] = [None] * classes
        return {"accuracy": None, "sensitivity": none, "specificity": none}
    each = np.stack(
        [
            confusion(guessed[mask], answers.truth[mask], classes)
            for mask in (answers.source == source for source in sources)
        ]
    )
    per_label = (each.sum(axis=2) > 0).sum(axis=0)
    rng = np.random.default_rng(seed)
    accuracy, sensitivity, specificity = [], [], []
    for _ in range(_DRAWS):
        counts = each[rng.integers(len(sources), size=len(sources))].sum(axis=0)
        accuracy.append(np.trace(counts) / max(counts.sum(), 1))
        s, t = rates(counts)
        sensitivity.append(s)
        specificity.append(t)
    return {
        "accuracy": _interval(np.array(accuracy), len(sources)),
        "sensitivity": [
            _interval(column, own)
            for column, own in zip(np.array(sensitivity).T, per_label.tolist(), strict=True)
        ],
        "specificity": [_interval(column, len(sources)) for column in np.array(specificity).T],
    }


def _interval(draws: NDArray[np.float64], sources: int) -> list[float] | None:
    """95 % bounds from draws; where all say 0 or 1, as many trials as sources bound the other end.

    Source: Clopper, Pearson, "The use of confidence or fiducial limits", Biometrika 26(4), 1934.
    """
    known = draws[~np.isnan(draws)]
    if not len(known):
        return None
    low, high = np.percentile(known, [2.5, 97.5])
    never = 0.025 ** (1 / sources)
    if low == 1:
        low = never
    if high == 0:
        high = 1 - never
    return [round(float(low), 4), round(float(high), 4)]


def _rounded(value: float) -> float | None:
    """Four places; None where there is no value, since JSON knows no NaN."""
    return None if np.isnan(value) else round(float(value), 4)
