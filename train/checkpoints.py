"""Checkpoints that are whole or not there: a full disk or a kill leaves the last one as it was."""

import io
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins.io import TorchCheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint

from train.whole import written_whole


class WholeCheckpoints(TorchCheckpointIO):
    """Lightning's own writes to the system's temporary folder first, and moves the file from there.

    Where that is another file system than the checkpoint's, to move is to copy over the old file.
    """

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: str | Path,
        storage_options: Any | None = None,
    ) -> None:
        """Write beside the target, then take its place.

        Raises:
            OSError: No space, or no right to write; what was at `path` is there still.
        """
        del storage_options
        content = io.BytesIO()  # torch, writing a file itself, does not say that the disk is full
        torch.save(checkpoint, content)
        with written_whole(Path(path)) as partial:
            partial.write_bytes(content.getbuffer())


def kept(folder: Path, name: str, *, monitor: str | None) -> ModelCheckpoint:
    """Write `name.ckpt` after every epoch; where a figure is monitored, only if it is less."""
    return ModelCheckpoint(
        dirpath=folder,
        filename=name,
        monitor=monitor,
        save_top_k=1,
        enable_version_counter=False,
        save_on_train_epoch_end=True,
    )


def save_weights(module: L.LightningModule, path: Path) -> None:
    """Write a checkpoint as `fit` writes them, weights and settings alone. Raises OSError."""
    document: dict[str, Any] = {
        "hyper_parameters": dict(module.hparams),
        "state_dict": module.state_dict(),
    }
    WholeCheckpoints().save_checkpoint(document, path)
