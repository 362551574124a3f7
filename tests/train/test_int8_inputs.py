"""A network in training takes inputs as its int8 file will; asked, it answers as before."""

import numpy as np
import pytest
import torch
from torch import nn

from train.export.graph import to_onnx
from train.export.precision import to_int8
from train.export.rounding import rounded as weights_rounded
from train.models.int8 import KEPT, round_inputs, rounded
from train.models.simplenet import ZERO
from train.pixels import to_input
from train.predict import by_onnxruntime


@pytest.fixture
def network(trained_like_net):
    return weights_rounded(trained_like_net)


def test_values_lie_on_the_steps_of_what_most_tiles_reach():
    values = torch.rand(20, 3, 4, 4)
    values[18:, 0, 0, 0] = 50
    values[:18] *= 0.5
    values[:18, 0, 0, 0] = 0.5
    taken = rounded(values)
    steps = taken * 127 / 0.5
    torch.testing.assert_close(steps, steps.round(), atol=1e-3, rtol=0)
    assert float(taken.max()) == pytest.approx(0.5)
    inside = values <= 0.5
    assert float((taken - values)[inside].abs().max()) <= 0.5 / 127 / 2 + 1e-6
    assert 0.9 < float(inside.float().mean()) < 1


def test_a_gradient_passes_where_nothing_was_clipped():
    values = torch.linspace(-1, 1, 41).repeat(20, 1)
    values[:2] *= 2
    values.requires_grad_()
    rounded(values).sum().backward()
    assert torch.equal(values.grad, (values.detach().abs() < 1).float())


def test_nothing_is_left_of_nothing():
    values = torch.zeros(2, 3, 4, 4)
    assert torch.equal(rounded(values), values)


def test_in_training_it_answers_as_its_int8_file(tiles):
    """One layer is rounded here: of several, each would shift the ranges of the next a little."""

    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            wide = [nn.Conv2d(3, 3, 3) for _ in range(3)]
            self.layers = nn.Sequential(*(m for conv in wide for m in (conv, nn.ReLU())))
            self.last = nn.Conv2d(3, 4, 3)

        def forward(self, pictures):
            return 10 * self.last(self.layers(pictures - ZERO))[:, :, 128, 128]

    torch.manual_seed(2)
    network = weights_rounded(Plain().eval())
    plain = to_onnx(network, tiles.shape[1])
    convolutions = [node.name for node in plain.graph.node if node.op_type == "Conv"]
    kept = tuple(convolutions[KEPT["InceptionResNetV2"]])
    int8 = to_int8(plain, tiles, kept=kept)
    round_inputs(network, "InceptionResNetV2")
    with torch.no_grad():
        fitted = network.train()(to_input(torch.from_numpy(tiles))).log_softmax(1).numpy()
    as_plain, as_int8 = (np.log(by_onnxruntime(m)(tiles)) for m in (plain, int8))
    assert np.abs(as_plain - as_int8).max() > 5e-4
    np.testing.assert_allclose(fitted, as_int8, atol=5e-5)


def test_asked_it_answers_as_before(network, tiles):
    pictures = to_input(torch.from_numpy(tiles))
    with torch.no_grad():
        before = network.eval()(pictures)
        round_inputs(network, "SimpleNet")
        assert not torch.equal(network.train()(pictures), before)
        assert torch.equal(network.eval()(pictures), before)


def test_pixels_and_what_stays_in_fp32_are_spared(network, tiles):
    seen = {}
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    round_inputs(network, "SimpleNet")
    for number, layer in enumerate(layers):
        layer.register_forward_hook(
            lambda _, came, gave, number=number: seen.update({number: came[0].unique().numel()})
        )
    network.train()(to_input(torch.from_numpy(tiles)))
    many = {number for number, values in seen.items() if values > 256}
    assert many == set(range(len(layers))[KEPT["SimpleNet"]])
    assert seen[0] > 128  # codes of pixels, not steps


def test_branches_take_the_same_values_once():
    class Branches(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.ModuleList([nn.Conv2d(3, 4, 1) for _ in range(3)])
            self.left, self.right = nn.Conv2d(4, 2, 1), nn.Conv2d(4, 2, 1)

        def forward(self, pictures):
            for layer in self.stem:
                pictures = layer(pictures[:, :3]).relu()
            return self.left(pictures) + self.right(pictures)

    network, came = Branches().train(), []
    round_inputs(network, "InceptionResNetV2")
    for branch in (network.left, network.right):
        branch.register_forward_hook(lambda _, inputs, gave: came.append(inputs[0]))
    for _ in range(2):
        network(torch.rand(2, 3, 8, 8)).sum().backward()
    assert came[0] is came[1]
    assert came[2] is came[3]
    assert came[2] is not came[0]
    assert network.stem[0].weight.grad.abs().sum() > 0
