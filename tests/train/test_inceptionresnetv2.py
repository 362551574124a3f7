"""InceptionResNetV2 is timm's, starts from what fits, and says what does not."""

from dataclasses import replace

import huggingface_hub.constants
import numpy as np
import pytest
import timm
import torch
from onnx import numpy_helper
from safetensors.torch import save_file
from torch import nn

from train.data.crops import CropSettings
from train.errors import WeightsError
from train.export.graph import to_onnx
from train.export.precision import to_int8
from train.export.rounding import rounded
from train.fit import Fit, FitSettings, fit, start_from
from train.models import build
from train.models.folding import folded, unfolded
from train.models.from_onnx import network_from
from train.models.inceptionresnetv2 import InceptionResNetV2, Pointwise, stretched
from train.models.simplenet import ZERO
from train.pixels import to_input
from train.predict import by_onnxruntime


@pytest.fixture(scope="module")
def network():
    """Batch normalisations hold statistics unlike those they start with."""
    torch.manual_seed(4)
    network = build("InceptionResNetV2", 8)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.bias.data.normal_(0, 0.1)
    return network.eval()


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory):
    """A file in the form of timm's, with weights drawn by chance."""
    torch.manual_seed(5)
    state = timm.create_model("inception_resnet_v2").state_dict()
    path = tmp_path_factory.mktemp("imagenet") / "model.safetensors"
    save_file(state, path)
    return path, state


@pytest.fixture(scope="module")
def answered(network):
    """Pictures of the smallest size, and the network's answers."""
    pictures = torch.rand(1, 3, 75, 75)
    with torch.no_grad():
        return pictures, network(pictures)


def test_it_has_timms_layers(network, answered):
    pictures, logits = answered
    theirs = timm.create_model("inception_resnet_v2", num_classes=8).eval()
    state = network.features.state_dict() | {
        "classif.weight": network.head[-1].weight,
        "classif.bias": network.head[-1].bias,
    }
    theirs.load_state_dict(state)
    assert sum(p.numel() for p in network.parameters()) == 54_318_760
    with torch.no_grad():
        torch.testing.assert_close(logits, theirs((pictures - ZERO) * 2))


def test_folded_and_unfolded_agree(network, answered):
    pictures, logits = answered
    flat = folded(network)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in flat.modules())
    with torch.no_grad():
        torch.testing.assert_close(flat(pictures), logits, atol=1e-4, rtol=1e-4)


def test_an_exported_network_is_read_back_and_unfolded(network):
    """From the int8 file's weights, as its engine carries them."""
    pictures = torch.rand(6, 3, 75, 75, generator=torch.Generator().manual_seed(6))
    rounded_off = rounded(network)
    flat = network_from(to_onnx(rounded_off, 75), "InceptionResNetV2", 8)
    again = unfolded(flat, pictures)
    assert isinstance(again, InceptionResNetV2)
    norms = [module for module in again.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(norms) == sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    with torch.no_grad():
        logits = rounded_off(pictures)
        torch.testing.assert_close(flat(pictures), logits, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(again(pictures), logits, atol=1e-3, rtol=1e-3)
        fitting = again.features.train()(stretched(pictures))
        torch.testing.assert_close(
            fitting, again.features.eval()(stretched(pictures)), atol=0.1, rtol=0.1
        )


def test_imagenet_weights_come_from_a_file_and_the_top_starts_fresh(imagenet):
    path, state = imagenet
    network = InceptionResNetV2(8)
    top = network.head[-1].weight.clone()
    network.start_from_imagenet(path)
    own = network.features.state_dict()
    assert all(torch.equal(own[name], state[name]) for name in own)
    assert torch.equal(network.head[-1].weight, top)


def test_weights_of_another_architecture_are_refused_with_both_shapes(imagenet, network, tmp_path):
    _, state = imagenet
    for change, says in (
        (
            {"conv2d_1a.conv.weight": torch.zeros(8, 3, 3, 3)},
            r"\(8, 3, 3, 3\), but \(32, 3, 3, 3\)",
        ),
        ({"layer4.weight": torch.zeros(5)}, r"has layer4.weight of shape \(5,\), which"),
    ):
        torch.save(state | change, tmp_path / "other.pth")
        with pytest.raises(WeightsError, match=says):
            network.start_from_imagenet(tmp_path / "other.pth")
    torch.save({"fc.weight": torch.zeros(5, 2)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=r"no conv2d_1a.*expected .* \(32, 3, 3, 3\)"):
        network.start_from_imagenet(tmp_path / "other.pth")


def test_files_that_hold_no_weights_are_refused(network, tmp_path):
    with pytest.raises(WeightsError, match="there is no file"):
        network.start_from_imagenet(tmp_path / "none.pth")
    for name in ("text.pth", "text.safetensors"):
        (tmp_path / name).write_text("no weights")
        with pytest.raises(
            WeightsError, match=f"{name} holds no weights that can be read; expected"
        ):
            network.start_from_imagenet(tmp_path / name)
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(WeightsError, match="holds list; expected tensors by name"):
        network.start_from_imagenet(tmp_path / "list.pth")


def test_without_a_network_it_is_said_what_to_fetch(network, monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(WeightsError, match=r"(?s)cannot be fetched.*model.safetensors .*--weights"):
        network.start_from_imagenet()


def test_the_matrix_products_of_training_are_the_convolutions():
    layer = Pointwise(6, 4, 1)
    maps = torch.rand(2, 6, 5, 3).to(memory_format=torch.channels_last)
    product = layer.train()(maps)
    assert product.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(product, layer.eval()(maps))


def test_the_top_alone_is_fitted_on_imagenet_weights_then_all_on_larger_crops(
    train_pictures, imagenet, tmp_path
):
    settings = FitSettings(
        labels=("refimgs", "wn"),
        architecture="InceptionResNetV2",
        crops=CropSettings(crop=75, region=96, crops_a_region=2, batch=2, batches_a_round=1),
        frozen=("features",),
        steps_an_epoch=1,
        steps=1,
        workers=0,
    )
    validation = torch.zeros(1, 75, 75, 3, dtype=torch.uint8), torch.zeros(1, dtype=torch.int64)
    path, state = imagenet
    small = fit(settings, train_pictures, validation, tmp_path, weights=path, progress=False)
    larger = Fit(replace(settings, crops=replace(settings.crops, crop=107), frozen=()))
    assert start_from(larger, small) == []
    own = larger.network.features.state_dict()
    assert all(torch.equal(own[name], state[name]) for name in own)
    top = torch.load(small, weights_only=False)["state_dict"]["network.head.3.weight"]
    assert torch.equal(larger.network.head[-1].weight, top)


def test_simplenet_has_no_imagenet_weights(tmp_path):
    module = Fit(FitSettings(labels=("refimgs", "wn"), steps=1))
    with pytest.raises(WeightsError, match="no ImageNet weights of SimpleNet"):
        start_from(module, tmp_path / "model.safetensors")


def test_its_graph_keeps_to_the_contract(network):
    tiles = np.random.default_rng(6).integers(0, 256, (1, 75, 75, 3), dtype=np.uint8)
    graph = to_onnx(network, 75)
    kinds = [node.op_type for node in graph.graph.node]
    assert kinds[0] == "Cast"
    assert kinds.count("Conv") == 244
    assert not {"Identity", "BatchNormalization"} & set(kinds)
    with torch.no_grad():
        expected = network(to_input(torch.from_numpy(tiles))).softmax(1).numpy()
    np.testing.assert_allclose(by_onnxruntime(graph)(tiles), expected, atol=1e-4)


class Stretched(nn.Module):
    """What InceptionResNetV2 does to pixels, and one convolution."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def forward(self, pictures):
        return self.layers(stretched(pictures))


def test_int8_holds_every_pixel_exactly():
    tiles = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    model = to_int8(to_onnx(Stretched(), 16), tiles)
    by_name = {i.name: i for i in model.graph.initializer}
    first = next(n for n in model.graph.node if n.op_type == "QuantizeLinear")
    assert float(numpy_helper.to_array(by_name[first.input[1]])) == pytest.approx(2 / 255)
