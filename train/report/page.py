"""The page itself: headings, tables, plots, and the frames that were got most wrong."""

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from inspector.engine.tiling import Join
from train.data.pictures import read_picture
from train.measure.answers import Answers
from train.report.plots import accept_plot, confusion_plot, reliability_plot, severity_plot

_WORST_FRAMES = 12
_THUMBNAIL_PX = 220
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 1100px; margin: 2em auto; padding: 0 1em; }
table { border-collapse: collapse; margin: 1em 0; }
td, th { border-bottom: 1px solid #ccc; padding: .25em .8em; text-align: right; }
td:first-child, th:first-child { text-align: left; }
figure { display: inline-block; margin: .5em; vertical-align: top; }
figcaption { font-size: 12px; max-width: 230px; }
"""


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
        ("Sensitivity by severity", severity_plot(figures)),
        ("Reliability", reliability_plot(joined, answers.truth)),
        ("Acceptance", accept_plot(joined, answers.truth, answers.good)),
    ]
    body = [
        f"<h1>{escape(title)}</h1>",
        _of_what(figures, how),
        _summary([(title, figures), *compared]),
        _per_label(figures),
        *(
            f'<figure><img src="{source}" alt="{escape(name)}"><figcaption>{escape(name)}'
            "</figcaption></figure>"
            for name, source in plots
        ),
        "<h2>Most certain mistakes</h2>",
        _worst(answers, how),
    ]
    path.write_text(
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style><body>{''.join(body)}</body></html>",
        encoding="utf-8",
    )


def _of_what(figures: dict[str, Any], how: Join) -> str:
    return (
        f"<p>{figures['frames']} frames of {figures['references']} references,"
        f" {figures['tiles_a_frame']} tiles a frame, joined by {escape(how)}.</p>"
    )


def _summary(rows: Sequence[tuple[str, dict[str, Any]]]) -> str:
    head = "<tr><th>network</th><th>accuracy</th><th>95 %</th><th>ECE</th><th>ROC area</th></tr>"
    lines = [
        f"<tr><td>{escape(name)}</td><td>{f['accuracy']:.3f}</td><td>{_span(f['accuracy_95'])}</td>"
        f"<td>{f['expected_calibration_error']:.3f}</td><td>{f['accept_reject_area']:.4f}</td></tr>"
        for name, f in rows
    ]
    return f"<table>{head}{''.join(lines)}</table>"


def _per_label(figures: dict[str, Any]) -> str:
    head = (
        "<tr><th>label</th><th>frames</th><th>sensitivity</th><th>95 %</th>"
        "<th>specificity</th><th>95 %</th></tr>"
    )
    lines = [
        f"<tr><td>{escape(label)}</td><td>{row['frames']}</td><td>{row['sensitivity']:.3f}</td>"
        f"<td>{_span(row['sensitivity_95'])}</td><td>{row['specificity']:.3f}</td>"
        f"<td>{_span(row['specificity_95'])}</td></tr>"
        for label, row in figures["per_label"].items()
    ]
    return f"<table>{head}{''.join(lines)}</table>"


def _span(bounds: Sequence[float]) -> str:
    return f"{bounds[0]:.3f} to {bounds[1]:.3f}"


def _worst(answers: Answers, how: Join) -> str:
    joined = answers.joined(how)
    guessed = joined.argmax(axis=1)
    wrong = np.flatnonzero(guessed != answers.truth)
    order = wrong[np.argsort(-joined[wrong, guessed[wrong]])][:_WORST_FRAMES]
    return "".join(
        f'<figure><img src="{_thumbnail(Path(str(answers.files[i])))}" alt=""><figcaption>'
        f"{escape(Path(str(answers.files[i])).name)}: {answers.labels[answers.truth[i]]} (severity"
        f" {answers.severity[i]}) taken for {answers.labels[guessed[i]]},"
        f" {joined[i, guessed[i]]:.2f}</figcaption></figure>"
        for i in order
    )


def _thumbnail(path: Path) -> str:
    picture = read_picture(path)
    scale = _THUMBNAIL_PX / max(picture.shape[:2])
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    _, data = cv2.imencode(
        ".jpg",
        cv2.resize(picture, size, interpolation=cv2.INTER_AREA),
        [cv2.IMWRITE_JPEG_QUALITY, 85],
    )
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()
