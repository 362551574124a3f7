"""The plots of the report, each a PNG in text form, fit for an HTML page."""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from train.measure.figures import accept_curve

mpl.use("Agg")
_DPI = 110
_BINS = 15


def confusion_plot(figures: dict[str, Any]) -> str:
    """Confusion matrix, rows the true label, in shares of the row."""
    counts = np.array(figures["confusion"], dtype=float)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    labels = figures["labels"]
    figure = Figure(figsize=(6.2, 5.4))
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(labels)), labels, rotation=45, ha="right")
    axes.set_yticks(range(len(labels)), labels)
    axes.set_xlabel("answer")
    axes.set_ylabel("true label")
    for row in range(len(labels)):
        for column in range(len(labels)):
            if counts[row, column]:
                colour = "white" if shares[row, column] > 0.5 else "black"
                axes.text(
                    column,
                    row,
                    int(counts[row, column]),
                    ha="center",
                    va="center",
                    color=colour,
                    fontsize=8,
                )
    return _png(figure)


def severity_plot(figures: dict[str, Any]) -> str:
    """Sensitivity of each label, and accuracy over all labels, by severity."""
    figure = Figure(figsize=(6.2, 4))
    axes = figure.subplots()
    severities = [key for key in figures["by_severity"] if key != "0"]
    for label in figures["labels"]:
        values = [figures["by_severity"][s]["sensitivity"].get(label) for s in severities]
        axes.plot([int(s) for s in severities], values, marker="o", label=label)
    accuracy = [figures["by_severity"][s]["accuracy"] for s in severities]
    axes.plot([int(s) for s in severities], accuracy, color="black", linestyle="--", label="all")
    axes.set_xlabel("severity")
    axes.set_ylabel("sensitivity; accuracy over all labels")
    axes.set_ylim(0, 1.02)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7, ncols=2)
    return _png(figure)


def reliability_plot(joined: NDArray[np.float32], truth: NDArray[np.int64]) -> str:
    """Accuracy by confidence: a calibrated network lies on the diagonal."""
    confidence, hit = joined.max(axis=1), joined.argmax(axis=1) == truth
    place = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    used = [b for b in range(_BINS) if (place == b).any()]
    figure = Figure(figsize=(4.6, 4))
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="grey", linewidth=1)
    axes.plot(
        [confidence[place == b].mean() for b in used],
        [hit[place == b].mean() for b in used],
        marker="o",
    )
    axes.set_xlabel("confidence")
    axes.set_ylabel("accuracy")
    axes.grid(alpha=0.3)
    return _png(figure)


def accept_plot(joined: NDArray[np.float32], truth: NDArray[np.int64], good: int) -> str:
    """ROC of telling bad frames from good ones; the false reject axis is logarithmic."""
    false_rate, true_rate, area = accept_curve(joined, truth, good)
    figure = Figure(figsize=(4.6, 4))
    axes = figure.subplots()
    axes.plot(np.maximum(false_rate, 1e-3), true_rate)
    axes.set_xscale("log")
    axes.set_xlabel("good frames rejected")
    axes.set_ylabel("bad frames rejected")
    axes.set_title("one side is empty" if np.isnan(area) else f"area {area:.4f}", fontsize=9)
    axes.grid(alpha=0.3)
    return _png(figure)


def curves_plot(history: Sequence[Mapping[str, float]]) -> str:
    """Accuracy and loss of the train and test sides by epoch, side by side.

    Args:
        history: A row an epoch, with `epoch`, and `accuracy` and `loss` of `train` and `test`.
    """
    figure = Figure(figsize=(9.2, 3.6))
    epochs = [row["epoch"] for row in history]
    for axes, what in zip(figure.subplots(1, 2), ("accuracy", "loss"), strict=True):
        for side in ("train", "test"):
            values = [row[f"{side}_{what}"] for row in history]
            axes.plot(epochs, values, marker="o" if len(epochs) == 1 else None, label=side)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.set_xlabel("epoch")
        axes.set_ylabel(what)
        axes.set_ylim(0, 1.02 if what == "accuracy" else 1.05 * axes.get_ylim()[1])
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    return _png(figure)


def _png(figure: Figure) -> str:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=_DPI, bbox_inches="tight")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
