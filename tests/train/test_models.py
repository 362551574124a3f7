"""SimpleNet is the paper's, and folding changes nothing that it computes."""

import numpy as np
import pytest
import torch
from torch import nn

from train.errors import TrainingError, WeightsError
from train.export.graph import to_onnx
from train.models import build
from train.models.folding import folded, unfolded
from train.models.from_onnx import network_from, temperature_of
from train.models.simplenet import WIDTHS, ZERO, SimpleNet
from train.pixels import to_input


def test_six_outputs_have_the_papers_parameter_count():
    network = folded(SimpleNet(6))
    assert sum(p.numel() for p in network.parameters()) == 1_425_606
    plain = SimpleNet(6, normalised=False)
    assert sum(p.numel() for p in plain.parameters()) == 1_425_606


def test_the_layers_are_the_papers():
    network = SimpleNet(8, normalised=False)
    widths = [
        (m.in_channels, m.out_channels) for m in network.modules() if isinstance(m, nn.Conv2d)
    ]
    assert widths == [(3, 32), (32, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256)]
    assert sum(isinstance(m, nn.MaxPool2d) for m in network.modules()) == 6
    dropout = [m.p for m in network.modules() if isinstance(m, nn.Dropout)]
    assert dropout == [0.2, 0.2, 0.3, 0.3, 0.4, 0.4, 0.4]


def test_folded_and_unfolded_agree(trained_like_net, tiles):
    with torch.no_grad():
        pictures = to_input(torch.from_numpy(tiles))
        before, after = trained_like_net(pictures), folded(trained_like_net)(pictures)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in folded(trained_like_net).modules())
    np.testing.assert_allclose(before.numpy(), after.numpy(), atol=1e-4)


def test_a_folded_network_is_unfolded_and_answers_as_before(trained_like_net, tiles):
    pictures = to_input(torch.from_numpy(tiles))
    network = folded(trained_like_net)
    again = unfolded(network, pictures)
    with torch.no_grad():
        np.testing.assert_allclose(network(pictures), again(pictures), atol=1e-4)
        np.testing.assert_allclose(network(pictures), folded(again)(pictures), atol=1e-4)
        features = again.features.train()(pictures - ZERO)
        np.testing.assert_allclose(features, again.features.eval()(pictures - ZERO), atol=1e-2)
    norms = [m for m in again.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == len(WIDTHS)
    assert all(torch.equal(norm.weight, torch.ones_like(norm.weight)) for norm in norms)


def test_only_a_folded_network_of_known_layers_is_unfolded(trained_like_net):
    pooled = folded(SimpleNet(8, head="pooled"))
    for network in (trained_like_net, pooled, nn.Sequential(nn.Conv2d(3, 8, 3))):
        with pytest.raises(ValueError, match="only a folded SimpleNet with its dense head"):
            unfolded(network, torch.zeros(1, 3, 64, 64))


def test_the_pooled_head_takes_other_sizes():
    network = SimpleNet(8, head="pooled").eval()
    for side in (64, 128, 192):
        assert network(torch.zeros(1, 3, side, side)).shape == (1, 8)


def test_an_exported_engine_can_be_read_back(trained_like_net, tiles):
    model = to_onnx(trained_like_net, 256, 1.7)
    assert temperature_of(model) == pytest.approx(1.7)
    network = network_from(model, "SimpleNet", 8)
    with torch.no_grad():
        pictures = to_input(torch.from_numpy(tiles[:2]))
        np.testing.assert_allclose(
            network(pictures).numpy(), trained_like_net(pictures).numpy(), atol=1e-4
        )


def test_weights_of_another_class_count_are_refused_with_both_shapes(trained_like_net):
    with pytest.raises(WeightsError, match=r"\(8, 64\) in the file, but \(6, 64\) is wanted"):
        network_from(to_onnx(trained_like_net, 256), "SimpleNet", 6)


def test_a_file_of_another_architecture_is_refused(trained_like_net):
    with pytest.raises(WeightsError, match=r"no features\.conv2d_1a.*, expected InceptionResNetV2"):
        network_from(to_onnx(trained_like_net, 256), "InceptionResNetV2", 8)


def test_an_unknown_architecture_is_refused():
    with pytest.raises(TrainingError, match="no architecture 'AlexNet'; there are: SimpleNet"):
        build("AlexNet", 8)
