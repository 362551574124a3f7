"""The page itself: headings, tables, plots, and the frames that were got most wrong."""

import base64
import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from inspector.engine.tiling import Join
from train.data.pictures import read_picture
from train.errors import DataError
from train.measure.answers import Answers, save
from train.measure.figures import measure
from train.report.html import NONE, figure, share, span, table, write_document
from train.report.plots import accept_plot, confusion_plot, reliability_plot, severity_plot
from train.whole import written_whole

_WORST_FRAMES = 12
_THUMBNAIL_PX = 220


def write_measured(
    folder: Path, title: str, answers: Answers, how: Join, *, counted: Answers | None = None
) -> dict[str, Any]:
    """Write `answers.npz`, `figures.json` and `report.html`, each whole or not at all.

    Args:
        folder: Where they go; made where it is not there.
        title: What was measured.
        answers: All that were given, kept for later.
        how: How tiles are joined.
        counted: Those that are counted, where not all are.

    Returns:
        The figures.
    """
    counted = answers if counted is None else counted
    figures = measure(counted, how)
    save(answers, folder / "answers.npz")
    with written_whole(folder / "figures.json") as partial:
        partial.write_text(json.dumps(figures, indent=1), encoding="utf-8")
    write_page(folder / "report.html", title, counted, how, figures)
    return figures


def write_page(
    path: Path,
    title: str,
    answers: Answers,
    how: Join,
    figures: dict[str, Any],
    compared: Sequence[tuple[str, dict[str, Any]]] = (),
) -> None:
    """Write the report.

    Args:
        path: The HTML file.
        title: What was measured.
        answers: Its answers.
        how: How tiles were joined.
        figures: What `measure` gave for them.
        compared: Names and figures of others measured on the same frames, for the table.
    """
    joined = answers.joined(how)
    plots = [
        ("Confusion matrix", confusion_plot(figures)),
        ("Sensitivity and accuracy by severity", severity_plot(figures)),
        ("Reliability", reliability_plot(joined, answers.truth)),
        ("Acceptance", accept_plot(joined, answers.truth, answers.good)),
    ]
    body = [
        f"<h1>{escape(title)}</h1>",
        _of_what(figures, how),
        _summary([(title, figures), *compared]),
        _per_label(figures),
        *(figure(source, name) for name, source in plots),
        "<h2>Most certain mistakes</h2>",
        _worst(answers, how),
    ]
    write_document(path, title, body)


def _of_what(figures: dict[str, Any], how: Join) -> str:
    return (
        f"<p>{figures['frames']} frames of {figures['references']} references,"
        f" {figures['tiles_a_frame']} tiles a frame, joined by {escape(how)}.</p>"
    )


def _summary(rows: Sequence[tuple[str, dict[str, Any]]]) -> str:
    return table(
        ("network", "accuracy", "95 %", "ECE", "ROC area"),
        [
            (
                name,
                share(f["accuracy"]),
                span(f["accuracy_95"]),
                f"{f['expected_calibration_error']:.3f}",
                NONE if f["accept_reject_area"] is None else f"{f['accept_reject_area']:.4f}",
            )
            for name, f in rows
        ],
    )


def _per_label(figures: dict[str, Any]) -> str:
    return table(
        ("label", "frames", "sensitivity", "95 %", "specificity", "95 %"),
        [
            (
                label,
                row["frames"],
                share(row["sensitivity"]),
                span(row["sensitivity_95"]),
                share(row["specificity"]),
                span(row["specificity_95"]),
            )
            for label, row in figures["per_label"].items()
        ],
    )


def _worst(answers: Answers, how: Join) -> str:
    joined = answers.joined(how)
    guessed = joined.argmax(axis=1)
    wrong = np.flatnonzero(guessed != answers.truth)
    order = wrong[np.argsort(-joined[wrong, guessed[wrong]])][:_WORST_FRAMES]
    return "".join(
        figure(
            _thumbnail(Path(str(answers.files[i]))),
            f"{Path(str(answers.files[i])).name}: {answers.labels[answers.truth[i]]} (severity"
            f" {answers.severity[i]}) taken for {answers.labels[guessed[i]]},"
            f" {joined[i, guessed[i]]:.2f}",
        )
        for i in order
    )


def _thumbnail(path: Path) -> str | None:
    """A small picture of a frame; None where the frame is no longer there."""
    try:
        picture = read_picture(path)
    except DataError:
        return None
    scale = _THUMBNAIL_PX / max(picture.shape[:2])
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    _, data = cv2.imencode(
        ".jpg",
        cv2.resize(picture, size, interpolation=cv2.INTER_AREA),
        [cv2.IMWRITE_JPEG_QUALITY, 85],
    )
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()
