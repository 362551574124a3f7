"""Where a station keeps its state."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inspector.config.station import Station


def state_folder(config: Station) -> Path:
    """Where a station keeps its outbox: as written, else as systemd says, else here."""
    if config.state is not None:
        return config.state
    given = os.environ.get("STATE_DIRECTORY")
    return Path(given) if given else Path("state") / config.station
