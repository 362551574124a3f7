"""What a disk says of its free space."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def free_bytes(folder: Path) -> int | None:
    """Free space for an unprivileged user; None where there is no folder, or its disk fails.

    A status document has it: whatever is wrong with a disk, the others must still be told.
    """
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None
