"""The engines that ship: whole, their papers' layers, and alike in every precision and runtime."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from inspector.engine.folders import shipped_engines_folder
from inspector.engine.golden import read_golden
from inspector.engine.manifest import read_manifest
from train.export.folder import answers_everywhere
from train.export.golden import LEAST_MARGIN, TOLERANCE
from train.labels import LABEL_SETS

PARAMETERS = {
    "simplenet": 1_425_606 + 2 * 65,  # two outputs more than the paper's six
    "inceptionresnetv2": 54_318_760 - 30_272,  # a number less for each folded channel
}
LARGEST_CARRIED = 60_000_000
"""Bytes of an engine's files in the repository."""


@pytest.fixture(scope="module", params=sorted(PARAMETERS))
def manifest(request):
    return read_manifest(shipped_engines_folder() / request.param)


@pytest.fixture(scope="module")
def models(manifest):
    return {
        precision: onnx.load_from_string(manifest.read_model(precision))
        for precision in ("fp32", "fp16", "int8")
    }


def test_its_files_are_whole_and_its_labels_the_eight(manifest):
    manifest.check_files()
    assert manifest.classes == LABEL_SETS["all"]
    assert manifest.training["licences"]


def test_the_repository_can_carry_it(manifest):
    carried = [entry for entry in manifest.files.present().values() if entry.derived_from is None]
    assert sum(entry.bytes for entry in carried) <= LARGEST_CARRIED


def test_its_figures_are_of_frames_that_no_step_had_seen(manifest):
    measured = manifest.measured
    assert measured["frames"] >= 1000
    assert measured["int8"]["tiles"] >= 5000
    assert measured["int8"]["tile_accuracy_lost"] <= 0.005


def test_the_confirming_engine_may_be_as_good_as_the_screen():
    screen, confirm = (
        read_manifest(shipped_engines_folder() / name).measured
        for name in ("simplenet", "inceptionresnetv2")
    )
    assert confirm["accuracy_95"][1] > screen["accuracy"]


def test_it_has_the_papers_parameters(manifest, models):
    graph = models["fp32"].graph
    weights = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    used = [
        weights[name]
        for node in graph.node
        if node.op_type in {"Conv", "Gemm"}
        for name in node.input[1:]
    ]
    assert sum(w.size for w in used) == PARAMETERS[manifest.name]


def test_its_golden_tiles_are_right_by_a_margin(manifest):
    golden = read_golden(manifest)
    ranked = np.sort(golden.expected, axis=1)
    assert (ranked[:, -1] - ranked[:, -2] >= LEAST_MARGIN).all()
    assert [manifest.classes[i] for i in golden.expected.argmax(axis=1)] == list(golden.labels)
    for label in manifest.classes:
        assert golden.labels.count(label) >= 4


def test_every_precision_and_runtime_reproduces_them(manifest, models):
    golden = read_golden(manifest)
    expected, others = answers_everywhere(models, golden.tiles)
    np.testing.assert_allclose(expected, golden.expected, atol=TOLERANCE["fp32"])
    truth = golden.expected.argmax(axis=1)
    for precision, answers in others.items():
        for answer in answers:
            assert np.abs(answer - golden.expected).max() <= TOLERANCE[precision], precision
            assert (answer.argmax(axis=1) == truth).all(), precision


def test_its_notice_names_the_authors(manifest):
    text = (manifest.folder / "NOTICE").read_text()
    assert "(CC-BY-SA" not in text
    assert text.count("* ") >= 4
