"""Weights between those that a fit started from and those it ended with.

Both lie in one valley of the loss, so that their mean answers about as well as the mean of both
networks' answers does, at the cost of one (Wortsman et al., "Robust fine-tuning of zero-shot
models", CVPR 2022; the same authors' "Model soups", ICML 2022).
"""

from collections.abc import Sequence
from pathlib import Path

import torch

from train.distortions import Picture
from train.errors import WeightsError
from train.fit import Fit, first_crops, load, start_from_engine


@torch.no_grad()
def between(engine: Path, checkpoint: Path, references: Sequence[Picture], share: float) -> Fit:
    """The weighted mean of an engine's weights and of those that a fit from it ended with.

    Args:
        engine: Folder of the engine that the fit was started from (`fit --weights`).
        checkpoint: Of the fit, which must have kept the statistics of its normalisations: what
            they are in the engine follows from the first crops of the fit.
        references: Pictures that the fit was given, (H, W, 3) uint8 BGR.
        share: Of the engine in the mean, 0 to 1.

    Returns:
        The fit with the mean as its weights, in evaluation mode.

    Raises:
        WeightsError: The checkpoint is torn or another program's, of another architecture or other
            labels than the engine, has statistics of its own, or started from something else.
    """
    module = load(checkpoint)
    if not module.settings.keep_statistics:
        raise WeightsError(
            f"{checkpoint} is of a fit without --keep-statistics: its normalisations count from"
            " other means than the engine's, so that no mean of the two has a meaning"
        )
    start = Fit(module.settings)
    start_from_engine(start, engine, first_crops(module.settings, references))
    begun, ended = start.state_dict(), module.state_dict()
    frozen = tuple(f"network.{name}." for name in module.settings.frozen)
    for name, value in begun.items():
        fixed = name.startswith(frozen) or name.rpartition(".")[2].startswith("running_")
        if fixed and not torch.allclose(value, ended[name], rtol=1e-3, atol=1e-4):
            raise WeightsError(
                f"{checkpoint} did not start from {engine} with these references: {name}, which the"
                " fit kept, is another"
            )
        if value.is_floating_point():
            ended[name].lerp_(value, share)
    return module.eval()
