"""What is exported keeps to the engine contract, in every precision and both runtimes."""

import numpy as np
import onnx
import pytest
import torch
import yaml
from onnx import TensorProto, numpy_helper
from torch import nn

from inspector.engine.derive import derived
from inspector.engine.golden import read_golden
from inspector.engine.manifest import read_manifest
from tests.int8 import largest_int8_weight
from train.errors import DataError
from train.export.bounding import bounded
from train.export.equalise import equalised
from train.export.folder import EngineFacts, answers_everywhere, write_engine
from train.export.golden import TOLERANCE, Candidate, choose, may_ship
from train.export.graph import to_onnx
from train.export.precision import WEIGHT_STEPS, shifted, to_fp16, to_int8
from train.export.ranges import ranges
from train.export.rounding import rounded
from train.labels import LABEL_SETS
from train.measure.calibration import Thresholds
from train.models.simplenet import ZERO
from train.pixels import to_input
from train.predict import Sampling, by_onnxruntime

LABELS = LABEL_SETS["all"]


@pytest.fixture(scope="module")
def models(trained_like_net, tiles):
    fp32 = to_onnx(equalised(trained_like_net, tiles), 256, 1.3)
    return {"fp32": fp32, "fp16": to_fp16(fp32), "int8": to_int8(fp32, tiles)}


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_every_file_has_the_contracts_shape(models, precision):
    model = models[precision]
    onnx.checker.check_model(model, full_check=True)
    assert model.opset_import[0].version <= 20
    assert model.graph.node[0].op_type == "Cast"
    (entry,), (answer,) = model.graph.input, model.graph.output
    assert (entry.name, entry.type.tensor_type.elem_type) == ("image", TensorProto.UINT8)
    assert (answer.name, answer.type.tensor_type.elem_type) == ("probabilities", TensorProto.FLOAT)
    sides = [d.dim_param or d.dim_value for d in entry.type.tensor_type.shape.dim]
    assert sides == ["N", 256, 256, 3]
    assert not any(i.data_location == TensorProto.EXTERNAL for i in model.graph.initializer)
    assert not any("running_mean" in i.name for i in model.graph.initializer)


def test_the_graph_answers_as_the_network_does(models, trained_like_net, tiles):
    with torch.no_grad():
        logits = trained_like_net(to_input(torch.from_numpy(tiles)))
        expected = torch.softmax(logits / 1.3, dim=1).numpy()
    np.testing.assert_allclose(by_onnxruntime(models["fp32"])(tiles), expected, atol=1e-4)


def test_a_range_of_int8_is_set_by_most_tiles_and_not_by_the_loudest(models, tiles):
    quiet = np.full((1, 256, 256, 3), 128, np.uint8)
    quiet[:, ::16, ::16] = 160
    loud = np.random.default_rng(1).integers(0, 2, quiet.shape, np.uint8) * 255
    few = ranges(models["fp32"], np.concatenate([quiet] * 19 + [loud]))
    none = ranges(models["fp32"], np.concatenate([quiet] * 20))
    many = ranges(models["fp32"], np.concatenate([quiet] * 15 + [loud] * 5))
    pixels, *others = none
    assert few[pixels] == pytest.approx(128 / 255)  # of pixels every code is held
    for name in others:
        assert few[name] == pytest.approx(none[name], rel=1e-3)
        assert many[name] > 1.5 * none[name]
    layers = [n for n in models["fp32"].graph.node if n.op_type in {"Conv", "Gemm"}]
    assert set(none) == {n.input[0] for n in layers}


class Deep(nn.Module):
    """Two convolutions whose activations grow with the picture's contrast."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(2)
        self.layers = nn.Sequential(
            nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True)),
            nn.Sequential(nn.Conv2d(4, 4, 3), nn.ReLU()),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4, 3),
        )

    def forward(self, pictures):
        return self.layers(pictures - 0.5)


def test_bounded_activations_leave_most_tiles_alone_and_hold_the_loudest():
    rng = np.random.default_rng(3)
    usual = rng.integers(96, 160, (19, 16, 16, 3), np.uint8)
    loud = rng.integers(0, 2, (1, 16, 16, 3), np.uint8) * 255
    network = Deep().eval()
    held = bounded(network, np.concatenate([usual, loud]))
    assert not [m for m in held.modules() if isinstance(m, nn.ReLU | nn.BatchNorm2d)]
    bounds = [m.max_val for m in held.modules() if isinstance(m, nn.Hardtanh)]
    assert len(bounds) == 2
    assert [m for m in network.modules() if isinstance(m, nn.ReLU)]

    def last_activation(net, picture):
        with torch.no_grad():
            return net.layers[:2](to_input(torch.from_numpy(picture)) - 0.5)

    below = [i for i in range(19) if last_activation(network, usual[i : i + 1]).max() <= bounds[1]]
    assert 12 <= len(below) < 19
    for i in below:
        came = last_activation(held, usual[i : i + 1])
        expected = last_activation(network, usual[i : i + 1])
        assert (came - expected).abs().max() < 0.2 * expected.max()
    assert last_activation(network, loud).max() > 1.2 * bounds[1]
    assert last_activation(held, loud).max() <= bounds[1]


def test_bounds_are_in_every_precision(tmp_path):
    rng = np.random.default_rng(3)
    tiles = rng.integers(0, 255, (8, 16, 16, 3), np.uint8)
    int8 = to_int8(to_onnx(bounded(Deep().eval(), tiles), 16), tiles).SerializeToString()
    expected = by_onnxruntime(onnx.load_from_string(derived(int8, "fp32")))(tiles)
    for data in (int8, derived(int8, "fp16")):
        model = onnx.load_from_string(data)
        onnx.checker.check_model(model, full_check=True)
        assert [n.op_type for n in model.graph.node].count("Clip") == 2
        np.testing.assert_allclose(by_onnxruntime(model)(tiles), expected, atol=0.02)


def test_sums_and_layers_that_stay_in_fp32_take_values_as_they_come():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.third = (nn.Conv2d(3, 3, 3, padding=1) for _ in range(3))

        def forward(self, pictures):
            trunk = self.first(pictures - ZERO).relu()
            both = self.second(trunk) + self.third(trunk)
            return (trunk + both).relu().mean((2, 3))

    tiles = np.random.default_rng(3).integers(0, 255, (8, 16, 16, 3), np.uint8)
    plain = to_onnx(Residual().eval(), 16)
    last = [n.name for n in plain.graph.node if n.op_type == "Conv"][-1]
    made = to_int8(plain, tiles, kept=(last,))
    came = {output: node for node in made.graph.node for output in node.output}
    rounds = [
        (node.op_type, node.name == last)
        for node in made.graph.node
        if any(came[name].op_type == "DequantizeLinear" for name in node.input if name in came)
    ]
    weights = [n for n in made.graph.node if n.op_type == "DequantizeLinear"]
    assert len(weights) == 4  # two layers, the values and the weights of each
    assert [kind for kind in rounds if kind[0] != "DequantizeLinear"] == [("Conv", False)] * 2


def test_the_quantisers_have_the_steps_of_the_ranges(models, tiles):
    reached = ranges(models["fp32"], tiles)
    graph = models["int8"].graph
    weights = {i.name: i for i in graph.initializer}
    steps = {
        n.input[0]: float(numpy_helper.to_array(weights[n.input[1]]))
        for n in graph.node
        if n.op_type == "QuantizeLinear" and n.input[0] not in weights
    }
    assert set(steps) == set(reached)
    for name, step in steps.items():
        assert step == pytest.approx(reached[name] / 127, rel=0.02)


def test_a_correction_of_the_logits_goes_through_the_temperature(models, tiles):
    by = np.linspace(-1, 1, len(LABELS)).astype(np.float32)
    for precision in ("fp32", "int8"):
        before = by_onnxruntime(models[precision])(tiles)
        after = by_onnxruntime(shifted(models[precision], 1.3 * by))(tiles)
        expected = before * np.exp(by)
        np.testing.assert_allclose(after, expected / expected.sum(1, keepdims=True), atol=1e-4)


def test_the_graph_takes_any_batch(models, tiles):
    predictor = by_onnxruntime(models["fp32"])
    np.testing.assert_allclose(predictor(tiles[:1]), predictor(tiles)[:1], atol=1e-6)


def test_all_precisions_and_runtimes_agree(models, tiles):
    expected, others = answers_everywhere(models, tiles)
    for precision, answers in others.items():
        for answer in answers:
            assert np.abs(answer - expected).max() <= TOLERANCE[precision]


def test_fp16_keeps_normalisation_and_softmax_in_fp32(models):
    kinds = [node.op_type for node in models["fp16"].graph.node]
    first, last = kinds.index("Conv"), len(kinds) - 1 - kinds[::-1].index("Gemm")
    assert kinds[first - 1] == "Cast"
    assert kinds[last + 1] == "Cast"
    assert kinds[-1] == "Softmax"
    weights = {i.name: i.data_type for i in models["fp16"].graph.initializer}
    for node in models["fp16"].graph.node[first : last + 1]:
        for name in node.input:
            assert weights.get(name, TensorProto.FLOAT16) == TensorProto.FLOAT16


def test_int8_is_signed_at_zero_per_channel_with_plain_biases(models):
    model = models["int8"]
    by_name = {i.name: i for i in model.graph.initializer}
    scales = {}
    for node in model.graph.node:
        if node.op_type in {"QuantizeLinear", "DequantizeLinear"}:
            zero = by_name[node.input[2]]
            assert zero.data_type == TensorProto.INT8
            assert not numpy_helper.to_array(zero).any()
            scales[node.output[0]] = by_name[node.input[1]]
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    assert len(convolutions) == 7
    for node in convolutions:
        assert list(scales[node.input[1]].dims)  # one scale an output channel
        assert by_name[node.input[2]].data_type == TensorProto.FLOAT


def test_int8_holds_every_pixel_exactly(models):
    by_name = {i.name: i for i in models["int8"].graph.initializer}
    first = next(n for n in models["int8"].graph.node if n.op_type == "QuantizeLinear")
    assert float(numpy_helper.to_array(by_name[first.input[1]])) == pytest.approx(1 / 255)


def test_equalising_changes_no_answer(trained_like_net, tiles):
    with torch.no_grad():
        pictures = to_input(torch.from_numpy(tiles))
        before = trained_like_net(pictures)
        after = equalised(trained_like_net, tiles, 1.0)(pictures)
    np.testing.assert_allclose(before.numpy(), after.numpy(), atol=1e-3)


@pytest.mark.parametrize(
    ("licence", "free"),
    [
        ("public-domain", True),
        ("CC0-1.0", True),
        ("BSD-2-clause", True),
        ("Expat", True),
        ("CC-BY-4.0", True),
        ("CC-BY-SA-4.0", False),
        ("GPL-2+", False),
        ("Free-Art-License", False),
        ("unknown", False),
    ],
)
def test_golden_tiles_come_from_free_licences_only(licence, free):
    assert may_ship(licence) is free


def candidates_of(models, tiles):
    """Each tile under the label that the network gives it."""
    guessed = by_onnxruntime(models["fp32"])(tiles).argmax(axis=1)
    return [
        Candidate(tile, LABELS[g], 3, f"train/{i}.png", "A. Author", "CC-BY-4.0")
        for i, (tile, g) in enumerate(zip(tiles, guessed, strict=True))
    ]


def test_too_few_golden_tiles_are_refused(models, tiles):
    candidates = candidates_of(models, tiles)
    expected, others = answers_everywhere(models, tiles)
    with pytest.raises(DataError, match=r"golden tiles for .*alike in all precisions"):
        choose(candidates, LABELS, expected, others)


FACTS = EngineFacts(
    "tiny",
    "SimpleNet",
    "1.0.0",
    LABELS,
    Sampling(256, 4, "spread"),
    "mean",
    Thresholds(0.5, {n: 0.9 for n in LABELS if n != "refimgs"}, 0.001, 0.01, False, 300, "tests"),
    {"licences": ["CC0-1.0"]},
    {"accuracy": 0.5},
)


@pytest.fixture
def any_golden(tiles, monkeypatch):
    """Every candidate becomes golden, however close the network's answers are."""
    monkeypatch.setattr("train.export.golden.LEAST_MARGIN", 0.0)
    monkeypatch.setattr("train.export.golden.choose", lambda *a, **k: list(range(len(tiles))))


def test_a_written_engine_is_what_the_station_reads(models, tiles, tmp_path, any_golden):
    candidates = candidates_of(models, tiles)
    folder = tmp_path / "engines" / "tiny"
    write_engine(folder, models, FACTS, candidates)
    write_engine(folder, models, FACTS, candidates)  # replaces the one that is there
    manifest = read_manifest(folder)
    manifest.check_files()
    golden = read_golden(manifest)
    np.testing.assert_array_equal(golden.tiles, tiles)
    answers = by_onnxruntime(onnx.load_from_string(manifest.read_model("fp32")))(golden.tiles)
    np.testing.assert_allclose(answers, golden.expected, atol=1e-5)
    assert "A. Author (CC-BY-4.0)" in (folder / "NOTICE").read_text()
    assert yaml.safe_load((folder / "manifest.yaml").read_text())["acceptable"] == ["refimgs"]
    assert [p.name for p in folder.parent.iterdir()] == ["tiny"]


def test_int8_weights_leave_a_bit_for_processors_that_add_in_16(models):
    int8 = [i for i in models["int8"].graph.initializer if i.data_type == TensorProto.INT8]
    assert sum(len(i.dims) > 1 for i in int8) >= 8
    largest = largest_int8_weight(models["int8"])
    assert largest == WEIGHT_STEPS
    assert 2 * largest * 255 < 2**15


def test_rounded_weights_are_those_of_int8(trained_like_net, tiles):
    flat = rounded(equalised(trained_like_net, tiles))
    fp32 = to_onnx(flat, 256)
    came = onnx.load_from_string(derived(to_int8(fp32, tiles[:1]).SerializeToString(), "fp32"))
    assert [node.op_type for node in came.graph.node] == [n.op_type for n in fp32.graph.node]
    stored = {i.name: numpy_helper.to_array(i) for i in came.graph.initializer}
    expected = {i.name: numpy_helper.to_array(i) for i in fp32.graph.initializer}
    for ours, theirs in zip(fp32.graph.node, came.graph.node, strict=True):
        for name, other in zip(ours.input, theirs.input, strict=True):
            if name in expected:
                np.testing.assert_allclose(stored[other], expected[name], rtol=1e-6)


def test_an_engine_of_the_int8_file_alone_is_read_in_every_precision(
    models, tiles, tmp_path, any_golden
):
    folder = tmp_path / "tiny"
    write_engine(folder, {"int8": models["int8"]}, FACTS, candidates_of(models, tiles))
    assert [path.name for path in folder.glob("*.onnx")] == ["model.int8.onnx"]
    manifest = read_manifest(folder)
    manifest.check_files()
    assert list(manifest.files.derived()) == ["fp32", "fp16"]
    golden = read_golden(manifest)
    for precision in ("fp32", "fp16"):
        model = onnx.load_from_string(manifest.read_model(precision))
        onnx.checker.check_model(model, full_check=True)
        gap = np.abs(by_onnxruntime(model)(golden.tiles) - golden.expected).max()
        assert gap <= TOLERANCE[precision]
