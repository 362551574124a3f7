"""Fitting, on Lightning: mixed precision, resume to the same data order, early stop, logs."""

import hashlib
import pickle
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import onnx
import torch
from lightning.pytorch.callbacks import Callback, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.classification import MulticlassAccuracy

from inspector.engine.manifest import read_manifest
from train.allocator import keep_large_buffers
from train.checkpoints import WholeCheckpoints, kept
from train.data.crops import Batch, CropSettings, CropStream
from train.distortions import Picture
from train.errors import TrainingError, WeightsError
from train.models import build
from train.models.folding import unfolded
from train.models.from_onnx import network_from
from train.models.inceptionresnetv2 import InceptionResNetV2
from train.models.int8 import round_inputs
from train.patience import Patience
from train.pixels import to_input
from train.precision import SCALED, fastest_precision
from train.schedule import Budget, rate_at

_WARM_UP_STEPS = 200
_MAY_CHANGE = {"steps", "minutes", "patience", "epochs_a_validation", "workers", "precision"}
_HEAD = "network.head."
_UNFOLDED_BATCHES = 2


@dataclass(frozen=True, slots=True)
class FitSettings:
    """What is fitted and how; stored in every checkpoint."""

    labels: tuple[str, ...]
    architecture: str = "SimpleNet"
    model: dict[str, Any] = field(default_factory=dict)
    crops: CropSettings = field(default_factory=CropSettings)
    peak_rate: float = 2e-3
    weight_decay: float = 0.01
    smoothing: float = 0.03
    frozen: tuple[str, ...] = ()
    keep_statistics: bool = False
    """Batch normalisations go on with the mean and variance that they have, and learn the rest:
    what is fitted is the network that answers, from the first step on."""
    as_int8: bool = False
    """Layers take their inputs as int8 holds them, while the network is fitted."""
    steps_an_epoch: int = 200
    epochs_a_validation: int = 1
    steps: int | None = None
    minutes: float | None = None
    patience: int | None = None
    workers: int = 1
    precision: str = field(default_factory=fastest_precision)
    seed: int = 1
    pictures: str = ""
    """Digest of what is fitted and validated on, set by `fit`."""


class Fit(L.LightningModule):
    """One fit of one network."""

    def __init__(self, settings: FitSettings) -> None:
        """Build the network from the settings alone, with weights drawn by the seed.

        Raises:
            TrainingError: No such architecture, a frozen part that it has not, or all are frozen.
        """
        super().__init__()
        self.settings = settings
        self.save_hyperparameters({"settings": asdict(settings)})
        torch.manual_seed(settings.seed)
        network = build(settings.architecture, len(settings.labels), **settings.model)
        self.network: nn.Module = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.budget = Budget(settings.steps, settings.minutes)
        self.accuracy = MulticlassAccuracy(len(settings.labels), average="micro")
        parts = dict(self.network.named_modules())
        for name in settings.frozen:
            if name not in parts:
                outer = [part for part in parts if part and part.count(".") < 2]
                raise TrainingError(
                    f"{name!r} is no part of {settings.architecture} that could be frozen; there"
                    f" are: {', '.join(outer)}, and the parts of these"
                )
            parts[name].requires_grad_(False)
        if not any(p.requires_grad for p in self.network.parameters()):
            raise TrainingError(f"with {', '.join(settings.frozen)} frozen nothing is left to fit")

    def forward(self, pictures_bgr: Tensor) -> Tensor:
        """(N, H, W, 3) uint8 BGR to (N, C) logits."""
        logits: Tensor = self.network(to_input(pictures_bgr))
        return logits

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW on what is not frozen; the rate is set at each step."""
        settings = self.settings
        return torch.optim.AdamW(
            [p for p in self.parameters() if p.requires_grad],
            lr=settings.peak_rate,
            weight_decay=settings.weight_decay,
            fused=settings.precision != SCALED,
        )

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip by the norm; Lightning itself refuses to where the optimiser is a fused one."""
        del optimizer, gradient_clip_algorithm
        assert gradient_clip_val is not None
        nn.utils.clip_grad_norm_(self.parameters(), gradient_clip_val)

    def on_train_start(self) -> None:
        """Begin to count the minutes, and to round."""
        if self.settings.as_int8:
            round_inputs(self.network, self.settings.architecture)
        self.budget.start()

    def on_train_epoch_start(self) -> None:
        """Keep the frozen parts, and all statistics that are to be kept, as they are."""
        for name in self.settings.frozen:
            self.network.get_submodule(name).eval()
        if self.settings.keep_statistics:
            for module in self.network.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> int | None:
        """Set the learning rate; end a run that has nothing left of its budget."""
        del batch, batch_idx
        progress = self._progress()
        rate = rate_at(self.global_step, progress, self.settings.peak_rate, _WARM_UP_STEPS)
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = rate
        if progress >= 1:
            self.trainer.should_stop = True
            return -1
        return None

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """End the run where the budget is spent: as a whole epoch, its end is validated."""
        del outputs, batch, batch_idx
        if self._progress() >= 1:
            self.trainer.should_stop = True

    def _progress(self) -> float:
        progress = self.budget.progress(self.global_step)
        if self.trainer.world_size > 1:  # each has a clock of its own: the first one's counts
            progress = self.trainer.strategy.broadcast(progress)
        return progress

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Cross entropy with smoothed labels."""
        del batch_idx
        pictures, answers = batch
        logits = self(pictures).float()
        loss = functional.cross_entropy(logits, answers, label_smoothing=self.settings.smoothing)
        hits = (logits.argmax(1) == answers).float().mean()
        told: dict[str, Any] = {"on_step": False, "on_epoch": True, "sync_dist": True}
        self.log("train_loss", loss, batch_size=len(answers), **told)
        self.log("train_accuracy", hits, batch_size=len(answers), **told)
        self.log(
            "minutes", self.budget.elapsed_s() / 60, on_step=False, on_epoch=True, reduce_fx="max"
        )
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Loss without smoothing, and accuracy."""
        del batch_idx
        pictures, answers = batch
        logits = self(pictures).float()
        self.accuracy.update(logits, answers)
        loss = functional.cross_entropy(logits, answers)
        self.log("val_loss", loss, batch_size=len(answers), sync_dist=True)
        self.log("val_accuracy", self.accuracy, prog_bar=True)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the time that is spent."""
        checkpoint["spent_s"] = self.budget.elapsed_s()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on counting where the killed run stopped."""
        self.budget.spent_s = float(checkpoint["spent_s"])


class Crops(L.LightningDataModule):
    """Training crops made on the fly, and validation tiles that stay the same."""

    def __init__(
        self, settings: FitSettings, references: Sequence[Picture], validation: Batch
    ) -> None:
        """Keep the pictures."""
        super().__init__()
        self._settings = settings
        self._references = references
        self._validation = validation

    def train_dataloader(self) -> DataLoader[Batch]:
        """The stream from the next step's batch on; each process of several has its own."""
        settings, trainer = self._settings, self.trainer
        world = trainer.world_size if trainer else 1
        rank = trainer.global_rank if trainer else 0
        step = trainer.global_step if trainer else 0
        own = CropSettings(**{**asdict(settings.crops), "seed": settings.crops.seed * world + rank})
        stream = CropStream(
            self._references,
            settings.labels,
            own,
            first_batch=step,
            batches=settings.steps_an_epoch,
        )
        return DataLoader(
            stream,
            batch_size=None,
            num_workers=settings.workers,
            prefetch_factor=4 if settings.workers else None,
        )

    def val_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        """The validation tiles."""
        return DataLoader(TensorDataset(*self._validation), batch_size=32)


def fit(
    settings: FitSettings,
    references: Sequence[Picture],
    validation: Batch,
    folder: Path,
    *,
    weights: Path | None = None,
    pretrained: bool = False,
    progress: bool = True,
    devices: str = "auto",
    nodes: int = 1,
) -> Path:
    """Fit, or go on with the fit whose last checkpoint lies in `folder`.

    Args:
        settings: What and how.
        references: Pristine pictures of the train split, (H, W, 3) uint8 BGR.
        validation: Tiles of the val split and their label numbers.
        folder: Where logs and checkpoints go.
        weights: What to start from, see `start_from`, or the folder of an engine, see
            `start_from_engine`. Not looked at where this fit is resumed.
        pretrained: Start from ImageNet weights that timm fetches; InceptionResNetV2 only.
        progress: Show a progress bar.
        devices: Lightning's own word for the devices to use.
        nodes: Number of machines.

    Returns:
        The last checkpoint.

    Raises:
        WeightsError: `weights` that do not fit, or a folder that holds a fit of other settings.
    """
    keep_large_buffers()
    torch.set_float32_matmul_precision("high")
    settings = replace(settings, pictures=_digest(references, validation))
    module = Fit(settings)
    last = folder / "last.ckpt"
    if last.exists():
        refuse_other_settings(settings, last)
    elif weights is not None and weights.is_dir():
        start_from_engine(module, weights, first_crops(settings, references))
    elif weights is not None:
        start_from(module, weights)
    elif pretrained:
        start_from_imagenet(module)
    callbacks: list[Callback] = [
        # The best first: the last one carries what the best loss is, for a run that goes on.
        kept(folder, "best", monitor="val_loss"),
        # `save_last` of one callback would write only where the best improves.
        kept(folder, last.stem, monitor=None),
    ]
    if settings.patience is not None:
        callbacks.append(Patience(settings.patience))
    run = 1 + len(list(folder.glob("logs/csv-*")))
    if progress:
        callbacks.append(TQDMProgressBar(refresh_rate=20))
    trainer = L.Trainer(
        accelerator="auto",
        devices=devices,
        num_nodes=nodes,
        precision=settings.precision,  # type: ignore[arg-type]
        max_epochs=-1,
        max_steps=settings.steps if settings.steps is not None else -1,
        limit_train_batches=settings.steps_an_epoch,
        check_val_every_n_epoch=settings.epochs_a_validation,
        reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=0,
        callbacks=callbacks,
        plugins=[WholeCheckpoints()],
        logger=[
            CSVLogger(folder, name="logs", version=f"csv-{run}"),
            TensorBoardLogger(folder, name="logs", version=f"tensorboard-{run}"),
        ],
        enable_progress_bar=progress,
        enable_model_summary=False,
        gradient_clip_val=1.0,
    )
    data = Crops(settings, references, validation)
    trainer.fit(module, data, ckpt_path=str(last) if last.exists() else None, weights_only=False)
    return last


def refuse_other_settings(settings: FitSettings, last: Path) -> None:
    """Make sure that a fit may go on from a checkpoint: only how long and where may change.

    Raises:
        WeightsError: The checkpoint is of other settings; the text names them, with both values.
    """
    theirs, ours = asdict(settings_of(last)), asdict(settings)
    known = theirs.pop("pictures")  # not of checkpoints from before it was kept
    if ours.pop("pictures") != known and known:
        raise WeightsError(
            f"{last} was fitted on other references, or validated on other tiles; give those, or"
            " choose another folder"
        )
    other = [
        f"{name} {theirs[name]}, not {value}"
        for name, value in ours.items()
        if name not in _MAY_CHANGE and theirs[name] != value
    ]
    if other:
        raise WeightsError(
            f"{last} is of a fit with other settings: {'; '.join(other)}; give them, or choose"
            " another folder"
        )


def _digest(references: Sequence[Picture], validation: Batch) -> str:
    """SHA-256 of the pictures of a fit and of its validation tiles with their labels."""
    digest = hashlib.sha256()
    for picture in references:
        digest.update(repr(picture.shape).encode() + np.ascontiguousarray(picture).tobytes())
    for part in validation:
        digest.update(repr(tuple(part.shape)).encode() + part.numpy().tobytes())
    return digest.hexdigest()


def settings_of(checkpoint: Path) -> FitSettings:
    """The settings a checkpoint was fitted with. Raises WeightsError."""
    return _settings(_stored(checkpoint))


def _stored(checkpoint: Path) -> dict[str, Any]:
    """What lies in a checkpoint of `fit` or `head`.

    Raises:
        WeightsError: There is none, it is torn, or it is another program's.
    """
    try:
        stored = torch.load(checkpoint, map_location="cpu", weights_only=False)
    except FileNotFoundError as error:
        raise WeightsError(f"there is no checkpoint {checkpoint}") from error
    except OSError as error:
        raise WeightsError(f"{checkpoint} cannot be read: {error.strerror}") from error
    except (
        RuntimeError, EOFError, ValueError, pickle.UnpicklingError, ImportError,
        AttributeError, LookupError, TypeError,
    ) as error:  # fmt: skip
        raise WeightsError(f"{checkpoint} is no whole checkpoint: {error}") from error
    try:
        known = "settings" in stored["hyper_parameters"] and "state_dict" in stored
    except (KeyError, TypeError, IndexError):
        known = False
    if not known:
        raise WeightsError(f"{checkpoint} is a checkpoint of another program, not of fit or head")
    return dict(stored)


def _settings(stored: dict[str, Any]) -> FitSettings:
    raw = dict(stored["hyper_parameters"]["settings"])
    raw["crops"] = CropSettings(**raw["crops"])
    raw["labels"], raw["frozen"] = tuple(raw["labels"]), tuple(raw["frozen"])
    return FitSettings(**raw)


def load(checkpoint: Path) -> Fit:
    """A fitted network, ready to be asked. Raises WeightsError."""
    stored = _stored(checkpoint)
    module = Fit(_settings(stored))
    module.load_state_dict(stored["state_dict"])
    return module.eval()


def start_from(module: Fit, weights: Path) -> list[str]:
    """Take over the weights that two networks share; another kind of head starts fresh.

    Args:
        module: The fit that is to start.
        weights: A checkpoint (`*.ckpt`) of another fit, of crops of any size; or ImageNet weights
            as timm publishes them.

    Returns:
        The names of the parts that start fresh.

    Raises:
        WeightsError: Another architecture or class count; the text gives both.
    """
    if weights.suffix != ".ckpt":
        return start_from_imagenet(module, weights)
    stored = _stored(weights)
    theirs, ours = _settings(stored), module.settings
    if theirs.architecture != ours.architecture:
        raise WeightsError(
            f"{weights} holds weights of {theirs.architecture}, not of {ours.architecture}"
        )
    if len(theirs.labels) != len(ours.labels):
        raise WeightsError(
            f"{weights} has {len(theirs.labels)} outputs {theirs.labels},"
            f" but {len(ours.labels)} are wanted: {ours.labels}"
        )
    state, own = stored["state_dict"], module.state_dict()
    if theirs.model.get("head") != ours.model.get("head"):
        state = {name: v for name, v in state.items() if not name.startswith(_HEAD)}
    for name, value in state.items():
        if name in own and own[name].shape != value.shape:
            raise WeightsError(
                f"{weights}: {name} has shape {tuple(value.shape)},"
                f" but {tuple(own[name].shape)} is wanted"
            )
    shared = {name: value for name, value in state.items() if name in own}
    missing = module.load_state_dict(shared, strict=False).missing_keys
    return list(missing)


def start_from_engine(module: Fit, engine: Path, pictures_bgr: Tensor) -> list[str]:
    """Take over the weights of an exported network; another kind of head starts fresh.

    Args:
        module: The fit that is to start.
        engine: Folder of the engine.
        pictures_bgr: (N, H, W, 3) uint8 of all labels, for the batch normalisations.

    Returns:
        The names of the parts that start fresh.

    Raises:
        WeightsError: Another architecture or other labels; the text gives both.
    """
    manifest, settings = read_manifest(engine), module.settings
    if manifest.architecture != settings.architecture:
        raise WeightsError(
            f"{engine} is an engine of {manifest.architecture}, but a fit of"
            f" {settings.architecture} is wanted"
        )
    if tuple(manifest.classes) != settings.labels:
        raise WeightsError(
            f"{engine} has the labels {tuple(manifest.classes)}, but {settings.labels} are wanted"
        )
    model = onnx.load_from_string(manifest.read_model("fp32"))
    network = network_from(model, settings.architecture, len(settings.labels))
    own = unfolded(network, to_input(pictures_bgr)).state_dict(prefix="network.")
    if settings.model.get("head") == "pooled":
        own = {name: value for name, value in own.items() if not name.startswith(_HEAD)}
    return list(module.load_state_dict(own, strict=False).missing_keys)


def first_crops(settings: FitSettings, references: Sequence[Picture]) -> Tensor:
    """(N, crop, crop, 3) uint8 BGR: what the first steps of the fit see."""
    stream = CropStream(references, settings.labels, settings.crops, batches=_UNFOLDED_BATCHES)
    return torch.cat([pictures for pictures, _ in stream])


def start_from_imagenet(module: Fit, weights: Path | None = None) -> list[str]:
    """Take over ImageNet weights of a file, or those that timm fetches; the head starts fresh.

    Returns:
        The names of the parts that start fresh.

    Raises:
        WeightsError: The weights cannot be had, are of another architecture, or the network is one
            that has no such weights.
    """
    if not isinstance(module.network, InceptionResNetV2):
        raise WeightsError(
            f"there are no ImageNet weights of {module.settings.architecture}, only of"
            " InceptionResNetV2; weights of a fit are a file *.ckpt"
        )
    module.network.start_from_imagenet(weights)
    return [name for name in module.state_dict() if name.startswith(_HEAD)]
