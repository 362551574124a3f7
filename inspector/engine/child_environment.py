"""What the processes that this stage starts learn of the station's environment."""

from __future__ import annotations

import os
from pathlib import Path

_VISIBLE = "CUDA_VISIBLE_DEVICES"
KEPT_VARIABLES = (
    "PATH", "HOME", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", _VISIBLE, "CUDA_DEVICE_ORDER",
)  # fmt: skip
"""What goes over; the station's own environment may hold secrets of others."""
_PACKAGE_PARENT = str(Path(__file__).resolve().parents[2])


def child_environment(*, only_gpu: int = 0) -> dict[str, str]:
    """The whole environment of a child, which finds this very package. Any thread.

    Args:
        only_gpu: number of the only GPU that the child sees, which is its first then: for what
            always takes the first. 0 leaves the child with all of them.
    """
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    if only_gpu:
        listed = [name.strip() for name in kept.get(_VISIBLE, "").split(",") if name.strip()]
        # A number that is not listed hides all: no plan is better than one of another GPU.
        fallback = "-1" if listed else str(only_gpu)
        kept[_VISIBLE] = listed[only_gpu] if only_gpu < len(listed) else fallback
    paths = [_PACKAGE_PARENT, *filter(None, [os.environ.get("PYTHONPATH")])]
    return kept | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}
