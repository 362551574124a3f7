"""From a network to an engine folder: the whole way that `export` takes, on a few frames."""

import json
import shutil

import numpy as np
import onnx
import pytest

from inspector.engine.folders import shipped_engines_folder
from inspector.engine.golden import read_golden
from inspector.engine.manifest import read_manifest
from train.data.references import list_references, load_references
from train.data.tiles import sample_tiles
from train.errors import DataError
from train.export.build import BuildSettings, MadeSets, build_engine, golden_candidates
from train.generate import SetSettings, generate
from train.labels import LABEL_SETS
from train.measure.answers import load
from train.measure.joins import compare
from train.models.from_onnx import network_from
from train.models.simplenet import SimpleNet
from train.predict import Sampling

LABELS = LABEL_SETS["all"]
SIMPLENET = shipped_engines_folder() / "simplenet"


@pytest.fixture(scope="module")
def sets(references_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets")
    for split in ("val", "test"):
        generate(references_folder, SetSettings(split, LABELS), folder / split, processes=1)
    return MadeSets(folder / "val", folder / "test")


@pytest.fixture(scope="module")
def built(sets, references_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("built")
    shipped = onnx.load_from_string(read_manifest(SIMPLENET).read_model("fp32"))
    network = network_from(shipped, "SimpleNet", len(LABELS))
    kept, pictures = load_references(list_references(references_folder, "train"), references_folder)
    tiles, _ = sample_tiles(kept, pictures, LABELS, count=16, tile=256, seed=1)
    settings = BuildSettings(
        name="simplenet",
        architecture="SimpleNet",
        version="9.9.9",
        labels=LABELS,
        sampling=Sampling(256, 1, "centre"),
        join="mean",
        budget=0.01,
        least_golden=1,
        golden_candidates=5,
        answers=folder / "answers",
    )
    said = []
    measured = build_engine(
        network, tiles.numpy(), sets, settings, {"seed": 1}, folder / "simplenet", said.append
    )
    return folder, measured, said


def test_the_folder_is_whole(built):
    folder, measured, _ = built
    manifest = read_manifest(folder / "simplenet")
    manifest.check_files()
    assert manifest.version == "9.9.9"
    assert manifest.classes == LABELS
    assert set(read_golden(manifest).labels) == set(LABELS)
    assert manifest.measured == measured
    assert not manifest.thresholds.budget_proven, "a few references prove nothing"
    assert manifest.thresholds.false_reject_upper_95 > 0.5


def test_int8_was_measured_beside_the_rest(built):
    _, measured, said = built
    assert measured["int8"]["tiles"] == measured["frames"]
    assert abs(measured["int8"]["tile_accuracy_lost"]) < 0.2
    assert any("quantise" in text for text in said)


def test_the_answers_are_kept_for_joins(built):
    folder, measured, _ = built
    val, test = (load(folder / "answers" / split / "answers.npz") for split in ("val", "test"))
    assert {int(severity) for severity in test.severity} == {1, 2, 3, 4, 5}
    right = (test.even().joined("mean").argmax(axis=1) == test.even().truth).mean()
    assert right == pytest.approx(measured["accuracy"], abs=1e-4)
    assert np.isfinite([way.accuracy for way in compare(val, test, 0.01)]).all()


def test_golden_tiles_that_cannot_be_had_are_told_before_anything_is_judged(sets):
    rows = golden_candidates((sets.val,), ("wn",), 256, 5)
    assert {row.label for row in rows} == {"wn"}
    unknown = replace_licences(sets.val, sets.val.parent / "unknown")
    assert golden_candidates((unknown,), ("wn",), 256, 5) == []
    own = golden_candidates((unknown,), ("wn",), 256, 5, ("ACME", "proprietary"))
    assert {(row.author, row.licence) for row in own} == {("ACME", "proprietary")}
    settings = BuildSettings(
        "e", "SimpleNet", "1", LABELS, Sampling(256, 1, "centre"), "mean", 0.01
    )
    with pytest.raises(DataError, match=r"fewer than 4 frames of bad_lighting(?s:.*)--licence"):
        build_engine(
            SimpleNet(len(LABELS)),
            np.zeros((1, 256, 256, 3), np.uint8),
            MadeSets(unknown, replace_licences(sets.test, sets.val.parent / "unknown-too")),
            settings,
            {},
            sets.val.parent / "never",
        )


def replace_licences(made, out):
    """The same set, of references of which no table tells."""
    shutil.copytree(made, out)
    document = json.loads((out / "manifest.json").read_text())
    for known in document["references"].values():
        known |= {"author": "unknown", "licence": "unknown"}
    (out / "manifest.json").write_text(json.dumps(document))
    return out
