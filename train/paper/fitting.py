"""Fitting by epochs over a set that is held in memory, with a look at the network on the way.

Everything a later epoch depends on is in the checkpoint of the one before, and the order of the
pictures and the dropout of an epoch come from the seed and its number: a run that was killed goes
on to the same result.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, TQDMProgressBar
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from train.allocator import keep_large_buffers
from train.checkpoints import WholeCheckpoints
from train.pixels import to_input
from train.precision import fastest_precision
from train.schedule import Budget
from train.whole import written_whole

Batch = tuple[Tensor, Tensor]
"""(N, H, W, 3) uint8 BGR or (N, F) float32 features, and (N,) int64 label numbers."""

_LAST = "last.ckpt"
_KEPT = ("train", "test")


@dataclass(frozen=True, slots=True)
class EpochSettings:
    """The parts of the recipe that the paper does not state, and when to look.

    Attributes:
        epochs: Epochs after which the network is looked at, ascending; the last one ends the fit.
        rate: Of Adam, the same in every epoch, so that the first 50 of 300 epochs are 50 epochs.
        batch: Pictures a step.
        precision: Lightning's word for it.
        seed: Of the weights, the order of pictures and the dropout.
    """

    epochs: tuple[int, ...] = (50, 300)
    rate: float = 1e-3
    batch: int = 32
    precision: str = field(default_factory=fastest_precision)
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Fitted:
    """What a fit left behind.

    Attributes:
        history: A row an epoch: epoch, losses, accuracies, minutes spent so far.
        outputs: For each looked-at epoch the sigmoid outputs, (N, C) float32, of both sides.
    """

    history: list[dict[str, float]]
    outputs: dict[int, dict[str, NDArray[np.float32]]]


class EpochFit(L.LightningModule):
    """One network with sigmoid outputs, fitted with binary cross entropy and Adam."""

    def __init__(
        self, network: nn.Module, train: Batch, test: Batch, settings: EpochSettings
    ) -> None:
        """Keep all; nothing is fitted yet."""
        super().__init__()
        self.network = network
        self.budget = Budget(steps=settings.epochs[-1])
        self.history: list[dict[str, float]] = []
        self._train, self._test, self._settings = train, test, settings
        self._sums = {side: np.zeros(3) for side in _KEPT}

    def forward(self, inputs: Tensor) -> Tensor:
        """Pictures or features to (N, C) logits."""
        logits: Tensor = self.network(
            to_input(inputs) if inputs.dtype == torch.uint8 else inputs
        ).float()
        return logits

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam at one rate."""
        return torch.optim.Adam(self.network.parameters(), lr=self._settings.rate)

    def train_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        """All pictures in an order of this epoch's own."""
        chance = torch.Generator().manual_seed(self._chance())
        return DataLoader(
            TensorDataset(*self._train), self._settings.batch, shuffle=True, generator=chance
        )

    def val_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        """The test side."""
        return DataLoader(TensorDataset(*self._test), self._settings.batch)

    def on_train_start(self) -> None:
        """Begin to count the minutes."""
        self.budget.start()

    def on_train_epoch_start(self) -> None:
        """Draw this epoch's dropout from its own seed."""
        torch.manual_seed(self._chance())
        self._sums["train"][:] = 0

    def on_validation_epoch_start(self) -> None:
        """Count anew."""
        self._sums["test"][:] = 0

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Binary cross entropy, summed over the outputs."""
        del batch_idx
        return self._step(batch, "train")

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """The same, measured only."""
        del batch_idx
        self._step(batch, "test")

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Sigmoid outputs."""
        del batch_idx
        return torch.sigmoid(self(batch[0]))

    def on_train_epoch_end(self) -> None:
        """Write the row of this epoch."""
        row = {"epoch": self.current_epoch + 1.0}
        for side, sums in self._sums.items():
            loss, hits, count = sums.tolist()
            row |= {f"{side}_loss": loss / count, f"{side}_accuracy": hits / count}
        self.history.append(row | {"minutes": self.budget.elapsed_s() / 60})

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the rows and the time that is spent."""
        checkpoint["history"] = self.history
        checkpoint["spent_s"] = self.budget.elapsed_s()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on where the killed run stopped."""
        self.history = list(checkpoint["history"])
        self.budget.spent_s = float(checkpoint["spent_s"])

    def _chance(self) -> int:
        return self._settings.seed * 1_000_003 + self.current_epoch

    def _step(self, batch: Batch, side: str) -> Tensor:
        inputs, truth = batch
        logits = self(inputs)
        wanted = functional.one_hot(truth, logits.shape[1]).float()
        loss = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
        loss = loss.sum(1)
        hits = (logits.argmax(1) == truth).sum()
        self._sums[side] += (float(loss.detach().sum()), int(hits), len(truth))
        return loss.mean()


def fit_epochs(
    network: nn.Module,
    train: Batch,
    test: Batch,
    settings: EpochSettings,
    folder: Path,
    *,
    spent_s: float = 0.0,
    progress: bool = True,
) -> Fitted:
    """Fit, or go on with the fit that was begun in `folder`.

    Args:
        network: Inputs, prepared as `train.pixels` does it, to logits; changed in place.
        train: The train side.
        test: The test side, measured after every epoch; nothing is chosen by it.
        settings: How.
        folder: Where the checkpoint and the outputs go.
        spent_s: Seconds spent on these data before, that count as training.
        progress: Show a bar for every epoch.
    """
    keep_large_buffers()
    module = EpochFit(network, train, test, settings)
    module.budget.spent_s = spent_s
    last = folder / _LAST
    for epochs in settings.epochs:
        file = _outputs_file(folder, epochs)
        if file.exists():
            continue
        trainer = _trainer(settings, epochs, folder, progress=progress)
        trainer.fit(module, ckpt_path=str(last) if last.exists() else None, weights_only=False)
        outputs = [_outputs(trainer, module, batch, settings.batch) for batch in (train, test)]
        with written_whole(file) as partial, partial.open("wb") as content:
            np.savez_compressed(content, train=outputs[0], test=outputs[1])
    stored = torch.load(last, map_location="cpu", weights_only=False)
    return Fitted(stored["history"], {n: _read(_outputs_file(folder, n)) for n in settings.epochs})


def _trainer(settings: EpochSettings, epochs: int, folder: Path, *, progress: bool) -> L.Trainer:
    callbacks: list[Callback] = [
        ModelCheckpoint(
            dirpath=folder,
            save_last=True,
            save_top_k=0,
            enable_version_counter=False,
            save_on_train_epoch_end=True,
        )
    ]
    if progress:
        callbacks.append(TQDMProgressBar(refresh_rate=10))
    return L.Trainer(
        accelerator="auto",
        devices=1,
        precision=settings.precision,  # type: ignore[arg-type]
        max_epochs=epochs,
        reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=0,
        callbacks=callbacks,
        plugins=[WholeCheckpoints()],
        logger=False,
        enable_progress_bar=progress,
        enable_model_summary=False,
    )


def _outputs(trainer: L.Trainer, module: EpochFit, batch: Batch, size: int) -> NDArray[np.float32]:
    parts: list[Any] = trainer.predict(module, DataLoader(TensorDataset(*batch), size)) or []
    return np.asarray(torch.cat(parts).float().numpy(), np.float32)


def _outputs_file(folder: Path, epochs: int) -> Path:
    return folder / f"after-{epochs}.npz"


def _read(file: Path) -> dict[str, NDArray[np.float32]]:
    with np.load(file) as stored:
        return {side: stored[side] for side in _KEPT}
