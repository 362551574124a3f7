"""Checkpoints that are whole or not there: a full disk or a kill leaves the last one as it was."""

import io
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io import TorchCheckpointIO


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
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f"{target.name}.part")
        content = io.BytesIO()  # torch, writing a file itself, does not say that the disk is full
        torch.save(checkpoint, content)
        try:
            partial.write_bytes(content.getbuffer())
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
