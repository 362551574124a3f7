"""`export`: make an engine folder out of a checkpoint."""

from pathlib import Path
from typing import Annotated, Any

import typer

from inspector.engine.tiling import Join, Where
from train import fit
from train.cli.options import Budget, References, Seed, TestSet, ValSet
from train.data.references import large_enough, list_references, load_references
from train.data.tiles import sample_tiles
from train.errors import WeightsError
from train.export.build import BuildSettings, MadeSets, build_engine
from train.export.folder import refuse_place
from train.generate import licences_of
from train.measure.calibration import DEFAULT_BUDGET
from train.models import INPUT_SIDES
from train.predict import Sampling
from train.provenance import code_version

_INT8_TILES = 320
_INT8_ALONE = frozenset({"InceptionResNetV2"})
"""Too large to be carried in every precision."""


def export(
    checkpoint: Annotated[Path, typer.Option(help="A checkpoint of fit.")],
    references: References,
    val_set: ValSet,
    test_set: TestSet,
    out: Annotated[Path, typer.Option(help="Engine folder, engines/NAME.")],
    version: Annotated[str, typer.Option(help="Version of the engine.")],
    recipe: Annotated[str, typer.Option(help="How it was fitted, in words.")] = "",
    tiles: Annotated[int, typer.Option(min=1, help="Tiles a frame.")] = 4,
    where: Annotated[Where, typer.Option(help="Where they lie.")] = "spread",
    join: Annotated[Join, typer.Option(help="How tiles are joined.")] = "mean",
    budget: Budget = DEFAULT_BUDGET,
    stride: Annotated[int, typer.Option(min=1, help="Judge one in n frames only.")] = 1,
    least_golden: Annotated[int, typer.Option(min=1, help="Golden tiles a label.")] = 4,
    golden_candidates: Annotated[int, typer.Option(min=1, help="Tiles to choose from.")] = 48,
    int8_alone: Annotated[
        bool | None,
        typer.Option(help="Derive fp32 and fp16 from the int8 file; so for InceptionResNetV2."),
    ] = None,
    answers: Annotated[
        Path | None, typer.Option(help="Keep the answers to both sets here, for joins.")
    ] = None,
    licence: Annotated[
        str | None,
        typer.Option(help="Of references without one in SOURCES.csv, which are your own."),
    ] = None,
    author: Annotated[str, typer.Option(help="Whom to name for these.")] = "the references' owner",
    seed: Seed = 1,
) -> None:
    """Fold, calibrate, measure, quantise, choose golden tiles, and write the engine folder."""
    refuse_place(out)
    module = fit.load(checkpoint)
    labels, architecture = module.settings.labels, module.settings.architecture
    if module.settings.model.get("head") == "pooled":
        raise WeightsError(
            f"{checkpoint} has the pooled head, which does not ship; run head on it first"
        )
    side = INPUT_SIDES[architecture]
    used, every = load_references(list_references(references, "train"), references)
    large, pictures = large_enough(used, every, side, references)
    calibration, _ = sample_tiles(large, pictures, labels, count=_INT8_TILES, tile=side, seed=seed)
    settings = BuildSettings(
        name=out.name,
        architecture=architecture,
        version=version,
        labels=labels,
        sampling=Sampling(side, tiles, where),
        join=join,
        budget=budget,
        stride=stride,
        least_golden=least_golden,
        golden_candidates=golden_candidates,
        answers=answers,
        own=None if licence is None else (author, licence),
        int8_alone=architecture in _INT8_ALONE if int8_alone is None else int8_alone,
    )
    training: dict[str, Any] = {
        "data": "crops distorted on the fly from the train split of the references",
        "references": f"{len(used)} pictures (train split)",
        "licences": licences_of(used),
        "recipe": recipe,
        "seed": module.settings.seed,
        "code_version": code_version(),
    }
    measured = build_engine(
        module.network,
        calibration.numpy(),
        MadeSets(val_set, test_set),
        settings,
        training,
        out,
        say=typer.echo,
    )
    typer.echo(f"accuracy {measured['accuracy']}, int8 {measured['int8']}")
