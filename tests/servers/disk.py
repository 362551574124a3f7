"""A small file system that tests may fill to the brim."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def small_disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A file system of 3 MB, or of as many as the module's `SMALL_DISK_MB` says."""
    at = tmp_path / "disk"
    at.mkdir()
    size = f"size={getattr(request.module, 'SMALL_DISK_MB', 3)}m"
    mount = ["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(at)]
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("to make a small disk takes the right to mount one")
    yield at
    subprocess.run(["umount", "-l", str(at)], check=True)


def occupy(disk: Path) -> Path:
    """Fill what is left of a disk with a file that is not ours."""
    path = disk / "somebody-elses"
    with path.open("ab", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            pass
    return path
