"""What the processes that this stage starts learn of the station's environment."""

from __future__ import annotations

import os
from pathlib import Path

KEPT_VARIABLES = (
    "PATH", "HOME", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES",
)  # fmt: skip
"""What goes over; the station's own environment may hold secrets of others."""
_PACKAGE_PARENT = str(Path(__file__).resolve().parents[2])


def child_environment() -> dict[str, str]:
    """The whole environment of a child, which finds this very package. Any thread."""
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    return kept | {"PYTHONPATH": _PACKAGE_PARENT, "PYTHONUNBUFFERED": "1"}
