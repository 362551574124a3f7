"""The files that ship with the station, in a checkout and in an installed package."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent.parent


def shipped_configs() -> Path:
    """Folder of the shipped station files: `configs/` of a checkout, or its copy in the package."""
    packed = _PACKAGE / "_configs"
    return packed if packed.is_dir() else _PACKAGE.parent / "configs"


def demo_file() -> Path:
    """Station file of the demo, which `inspector run` takes when it is given none."""
    return shipped_configs() / "demo.yaml"
