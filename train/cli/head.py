"""`head`: put the paper's dense head on convolutions that were fitted with the pooled one."""

from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Annotated

import torch
import typer

from train import fit
from train.checkpoints import save_weights
from train.cli.options import References, Seed
from train.cli.progress import bar
from train.data.crops import CropStream
from train.data.references import list_references, load_references
from train.errors import WeightsError
from train.head import HeadSettings, features_of, fit_dense_head, with_dense_head
from train.models.simplenet import INPUT_SIDE, PooledHead, SimpleNet

_BATCH = 32
_REGION = 448


def head(
    checkpoint: Annotated[Path, typer.Option(help="A checkpoint of fit with --head pooled.")],
    references: References,
    out: Annotated[Path, typer.Option(help="The checkpoint to write.")],
    tiles: Annotated[int, typer.Option(min=8, help="Training tiles of 256 px.")] = 24_000,
    steps: Annotated[int, typer.Option(min=1, help="Steps of the fit.")] = 4000,
    workers: Annotated[int, typer.Option(min=0, help="Processes that make tiles.")] = 1,
    seed: Seed = 1,
) -> None:
    """Fit the dense head; `fit --weights` may then tune the whole network, `export` ship it."""
    module = fit.load(checkpoint)
    network = module.network
    if not isinstance(network, SimpleNet) or not isinstance(network.head, PooledHead):
        raise WeightsError(
            f"{checkpoint} holds {module.settings.architecture} with"
            f" {type(getattr(network, 'head', None)).__name__}; expected SimpleNet with PooledHead"
        )
    crops = replace(
        module.settings.crops, crop=INPUT_SIDE, region=_REGION, batch=_BATCH, seed=seed + 1000
    )
    settings = replace(
        module.settings,
        model={"head": "dense", "dropout": (0.0,) * 6, "head_dropout": 0.0},
        crops=crops,
        seed=seed,
    )
    _, pictures = load_references(list_references(references, "train"), references)
    batches = -(-tiles // _BATCH)
    stream = CropStream(pictures, settings.labels, crops, batches=batches)
    loader = torch.utils.data.DataLoader(stream, batch_size=None, num_workers=workers)
    with bar("features") as on_progress:
        features = features_of(
            network,
            islice(loader, batches),
            lambda done: on_progress(done, batches * _BATCH),
        )
    dense = fit_dense_head(features, len(settings.labels), HeadSettings(steps=steps, seed=seed))
    whole = fit.Fit(settings)
    whole.network.load_state_dict(with_dense_head(network, dense).state_dict())
    save_weights(whole, out)
    typer.echo(f"{out}: the dense head, fitted on {len(features.answers)} tiles")
