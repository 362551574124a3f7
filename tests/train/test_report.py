"""The evaluation report: all its parts are there, and it needs no other file."""

import json
import re

import numpy as np
import pytest
from typer.testing import CliRunner

from train.cli import app
from train.errors import DataError
from train.measure.answers import Answers, save
from train.measure.figures import measure
from train.report.page import write_page

LABELS = ("gblur", "refimgs", "wn")


@pytest.fixture
def answers(references_folder):
    """Thirty frames of two severities, every fifth of them got wrong."""
    rng = np.random.default_rng(1)
    truth = np.arange(30) % 3
    guessed = np.where(np.arange(30) % 5, truth, (truth + 1) % 3)
    tiles = (np.eye(3)[guessed] * 0.8 + rng.uniform(0, 0.1, (30, 3)))[:, None]
    picture = str(references_folder / "test" / "animal-kingfisher.png")
    return Answers(
        LABELS,
        (tiles / tiles.sum(axis=2, keepdims=True)).astype(np.float32),
        truth,
        1 + np.arange(30) % 2,
        np.array([f"<{number % 6}>" for number in range(30)]),
        np.zeros(30, np.int64),
        np.array([picture] * 25 + ["gone.png"] * 5),
    )


def test_the_page_has_every_plot_the_worst_frames_and_the_others_beside(answers, tmp_path):
    figures = measure(answers, "mean")
    other = {**figures, "accuracy": 0.123}
    write_page(tmp_path / "r.html", "a <b>", answers, "mean", figures, [("svm", other)])
    page = (tmp_path / "r.html").read_text()
    assert "<h1>a &lt;b&gt;</h1>" in page
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", page)
    assert captions[:4] == [
        "Confusion matrix",
        "Sensitivity and accuracy by severity",
        "Reliability",
        "Acceptance",
    ]
    mistakes = captions[4:]
    assert len(mistakes) == 6
    assert all(" taken for " in caption for caption in mistakes)
    assert re.search(r"<tr><td>svm</td><td>0\.123</td>", page)
    assert "http" not in page
    assert len(re.findall(r'<img src="data:image', page)) == 4 + sum(
        caption.startswith("animal-kingfisher.png") for caption in mistakes
    )


def test_measured_networks_come_into_one_table(answers, tmp_path):
    for name in ("net", "baseline"):
        (tmp_path / name).mkdir()
        save(answers, tmp_path / name / "answers.npz")
        figures = json.dumps(measure(answers, "mean"))
        (tmp_path / name / "figures.json").write_text(figures)
    folders = [str(tmp_path / name) for name in ("net", "baseline")]
    done = CliRunner().invoke(app, ["report", *folders, "--out", str(tmp_path / "all.html")])
    assert done.exit_code == 0, done.output
    page = (tmp_path / "all.html").read_text()
    assert "<td>net</td>" in page
    assert "<td>baseline</td>" in page
    narrower = json.dumps(measure(answers.only(("gblur", "refimgs")), "mean"))
    (tmp_path / "baseline" / "figures.json").write_text(narrower)
    fewer = CliRunner().invoke(app, ["report", *folders, "--out", str(tmp_path / "x.html")])
    assert "20 frames" in str(fewer.exception)
    (tmp_path / "other").mkdir()
    save(answers.where(answers.severity == 1), tmp_path / "other" / "answers.npz")
    (tmp_path / "other" / "figures.json").write_text(figures)
    asked = [folders[0], str(tmp_path / "other"), "--out", str(tmp_path / "x.html")]
    other = CliRunner().invoke(app, ["report", *asked])
    assert isinstance(other.exception, DataError)
    assert "15 frames" in str(other.exception)
    (tmp_path / "other" / "figures.json").write_text("{torn")
    torn = CliRunner().invoke(app, ["report", *asked])
    assert isinstance(torn.exception, DataError)
    assert "figures.json is torn" in str(torn.exception)
    missing = CliRunner().invoke(
        app, ["report", str(tmp_path / "none"), "--out", str(tmp_path / "x.html")]
    )
    assert isinstance(missing.exception, DataError)
    assert "run evaluate first" in str(missing.exception)


def test_a_label_without_frames_leaves_its_cells_empty(answers, tmp_path):
    some = answers.where(answers.truth != 2)
    write_page(tmp_path / "r.html", "some", some, "mean", measure(some, "mean"))
    page = (tmp_path / "r.html").read_text()
    assert re.search(r"<tr><td>wn</td><td>0</td><td>\u2013</td><td>\u2013</td>", page)
