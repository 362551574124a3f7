"""The report: the paper's Tables 3 and 4 and Figures 4 to 7 beside ours, and the filled gaps."""

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from train.paper.facts import COUNTS, INCEPTION, NETWORKS, SIMPLENET, TABLE_3, TABLE_4
from train.report.html import (
    NONE,
    definitions,
    figure,
    paragraph,
    share,
    span,
    table,
    write_document,
)
from train.report.plots import confusion_plot, curves_plot

_CURVES = {SIMPLENET: "Figure 4", INCEPTION: "Figure 5"}
_CONFUSION = {SIMPLENET: "Figure 6", INCEPTION: "Figure 7"}


def write_paper(path: Path, document: Mapping[str, Any]) -> None:
    """Write the page from what `run` found.

    Args:
        path: The HTML file.
        document: As in `paper.json`.
    """
    title = "The paper, reproduced"
    body = [
        f"<h1>{title}</h1>",
        paragraph(
            "Elaraby et al., An Optimized Deep Learning Approach for Robust Image Quality"
            " Classification, Traitement du Signal 40(4), 2023."
        ),
        paragraph(f"Code {document['code_version']}, on {document['machine']}."),
        *_left_out(document),
        "<h2>Table 1: pictures</h2>",
        _pictures(document["pictures"]),
        "<h2>Table 3: accuracy</h2>",
        _accuracy(document["networks"]),
        "<h2>Table 4: sensitivity and specificity on the test side</h2>",
        *(_rates(name, document["networks"][name]) for name in NETWORKS),
        "<h2>Figures 4 and 5: accuracy and loss by epoch</h2>",
        *(_curves(name, document["networks"][name]) for name in NETWORKS),
        "<h2>Figures 6 and 7: confusion matrices of the test side</h2>",
        *(part for name in NETWORKS for part in _confusion(name, document["networks"][name])),
        "<h2>Filled gaps</h2>",
        paragraph("What the paper does not state, and what was done instead."),
        definitions((gap["missing"], gap["filled"]) for gap in document["gaps"]),
    ]
    write_document(path, title, body)


def _left_out(document: Mapping[str, Any]) -> list[str]:
    return [
        f"<p><strong>{escape(name)} is left out: {escape(found['left_out'])}</strong></p>"
        for name, found in document["networks"].items()
        if "left_out" in found
    ]


def _pictures(pictures: Mapping[str, Any]) -> str:
    rows = [
        (
            label,
            count,
            pictures["train"][label] + pictures["test"][label],
            pictures["train"][label],
            pictures["test"][label],
            pictures["made"][label],
        )
        for label, count in COUNTS.items()
    ]
    total = ("all", *(sum(column) for column in zip(*(row[1:] for row in rows), strict=True)))
    return table(
        ("label", "paper", "ours", "trained on", "tested", "made here"),
        [*rows, total],
    )


def _accuracy(networks: Mapping[str, Any]) -> str:
    rows: list[tuple[object, ...]] = []
    for name in NETWORKS:
        paper = TABLE_3[name]
        theirs = (f"{paper.train:.0%}", f"{paper.test:.0%}", NONE, paper.minutes, "50 to 300")
        rows.append((f"{name}, paper", *theirs, NONE))
        found = networks[name]
        if "left_out" in found:
            rows.append((f"{name}, ours", *(["left out"] + [NONE] * 5)))
            continue
        for epochs, after in found["after"].items():
            test = after["test"]
            rows.append(
                (
                    f"{name}, ours",
                    f"{after['train_accuracy']:.1%}",
                    f"{test['accuracy']:.1%}",
                    span(test["accuracy_95"]),
                    after["minutes"],
                    epochs,
                    f"{found['parameters']:,}",
                )
            )
    head = ("network", "train", "test", "test, 95 %", "minutes", "epochs", "parameters")
    return table(head, rows)


def _rates(name: str, found: Mapping[str, Any]) -> str:
    """Table 4 of one network, after its last epochs."""
    sides = ("sensitivity", "specificity")
    head = ["label"]
    for side in sides:
        head += [f"{side}, paper", "ours", "95 %"]
    ours = {} if "left_out" in found else list(found["after"].values())[-1]["test"]["per_label"]
    rows = []
    for label in COUNTS:
        row = [label]
        paper = TABLE_4[name].get(label)
        for place, side in enumerate(sides):
            row.append(NONE if paper is None else f"{paper[place]:.2f}")
            row.append(share(ours[label][side]) if ours else NONE)
            row.append(span(ours[label][f"{side}_95"]) if ours else NONE)
        rows.append(row)
    return f"<h3>{escape(name)}</h3>{table(head, rows)}"


def _curves(name: str, found: Mapping[str, Any]) -> str:
    caption = f"{_CURVES[name]}: {name}"
    if "left_out" in found:
        return paragraph(f"{caption} is left out.")
    return figure(curves_plot(found["history"]), caption)


def _confusion(name: str, found: Mapping[str, Any]) -> list[str]:
    if "left_out" in found:
        return [paragraph(f"{_CONFUSION[name]}: {name} is left out.")]
    return [
        figure(
            confusion_plot(after["test"]),
            f"{_CONFUSION[name]} {part}: {name} after epoch {epochs}",
        )
        for part, (epochs, after) in zip("abcdefghij", found["after"].items(), strict=False)
    ]
