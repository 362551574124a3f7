"""The paper's dense head, fitted on top of convolutions that were trained with the pooled one.

The pooled head reads the same whatever the places of its features; the dense one has to learn
that. So the features of many tiles are computed once, and the dense head is fitted on them with
their 4x4 places shuffled at random, towards the true labels and towards what the pooled head
answers (Hinton, Vinyals, Dean, "Distilling the knowledge in a neural network", 2015).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from train.data.crops import Batch
from train.models.simplenet import ZERO, DenseHead, PooledHead, SimpleNet
from train.pixels import to_input
from train.precision import fastest_precision
from train.schedule import rate_at


@dataclass(frozen=True, slots=True)
class HeadSettings:
    """How the dense head is fitted."""

    steps: int = 3000
    batch: int = 256
    peak_rate: float = 1e-3
    weight_decay: float = 0.02
    dropout: float = 0.2
    smoothing: float = 0.03
    taught: float = 0.5
    """Share of the loss that pulls towards the pooled head's answers."""
    unshuffled: float = 0.25
    """Share of the steps that leave the places as they are."""
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Features:
    """What the convolutions gave for tiles: (N, 256, 4, 4) bfloat16, answers, teacher's logits."""

    maps: Tensor
    answers: Tensor
    taught: Tensor


@torch.no_grad()
def features_of(
    network: SimpleNet,
    batches: Iterable[Batch],
    on_progress: Callable[[int], None] = lambda done: None,
) -> Features:
    """Send batches through the convolutions and the pooled head.

    Raises:
        TypeError: The network has another head.
    """
    if not isinstance(network.head, PooledHead):
        raise TypeError("features are taken from a network with the pooled head")
    network.eval()
    maps, answers, taught = [], [], []
    for pictures, truth in batches:
        with torch.autocast("cpu", torch.bfloat16, enabled=fastest_precision() == "bf16-mixed"):
            found = network.features(to_input(pictures) - ZERO)
        maps.append(found.to(torch.bfloat16).contiguous())
        taught.append(network.head(found.float()))
        answers.append(truth)
        on_progress(sum(len(a) for a in answers))
    return Features(torch.cat(maps), torch.cat(answers), torch.cat(taught))


def fit_dense_head(features: Features, classes: int, settings: HeadSettings) -> DenseHead:
    """Fit a dense head on stored features."""
    torch.manual_seed(settings.seed)
    head = DenseHead(classes, settings.dropout).train()
    optimizer = torch.optim.AdamW(
        head.parameters(), lr=settings.peak_rate, weight_decay=settings.weight_decay
    )
    count = len(features.answers)
    for step in range(settings.steps):
        rate = rate_at(step, step / settings.steps, settings.peak_rate, 100)
        for group in optimizer.param_groups:
            group["lr"] = rate
        chosen = torch.randint(count, (settings.batch,))
        maps = features.maps[chosen].float()
        if torch.rand(()) >= settings.unshuffled:
            maps = _shuffled(maps)
        logits = head(maps)
        right = functional.cross_entropy(
            logits, features.answers[chosen], label_smoothing=settings.smoothing
        )
        like = functional.kl_div(
            logits.log_softmax(1), features.taught[chosen].softmax(1), reduction="batchmean"
        )
        loss = (1 - settings.taught) * right + settings.taught * like
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return head.eval()


def _shuffled(maps: Tensor) -> Tensor:
    """Each map's places in an order of its own."""
    flat = maps.flatten(2)
    order = torch.rand(len(maps), flat.shape[2]).argsort(1)
    return flat.gather(2, order[:, None].expand_as(flat)).view_as(maps)


def with_dense_head(network: SimpleNet, head: DenseHead) -> SimpleNet:
    """The network's convolutions under a dense head, dropout of the convolutions left out."""
    classes = head.output.out_features
    whole = SimpleNet(classes, head="dense", dropout=(0.0,) * 6, head_dropout=head.dropout.p)
    whole.features.load_state_dict(network.features.state_dict())
    whole.head = head
    return whole.eval()
