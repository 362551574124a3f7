"""Where a station, or a signaller, keeps its state."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inspector.config.signaller import Signaller
    from inspector.config.station import Station


def state_folder(config: Station) -> Path:
    """Where a station keeps its outbox: as written, else as systemd says, else here."""
    return _folder(config.state, config.station)


def written_folders(config: Station) -> list[Path]:
    """Every folder that a station fills: its state, and what may lie elsewhere."""
    folder = state_folder(config)
    evidence = [] if config.evidence is None else [folder / config.evidence.folder]
    return [folder, *evidence, folder / config.engine.plans]


def signaller_folder(config: Signaller) -> Path:
    """Where `inspector line` keeps the ids of handled events; by the same rule."""
    return _folder(config.state, config.signaller)


def _folder(written: Path | None, name: str) -> Path:
    if written is not None:
        return written
    given = os.environ.get("STATE_DIRECTORY")
    return Path(given) if given else Path("state") / name
