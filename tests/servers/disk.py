"""File systems that tests may fill to the brim, stop, and let fail."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


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


class RealDisk:
    """A file system as disks have it, on a device of its own, that a test may let fail.

    Attributes:
        at: where it is mounted.
    """

    def __init__(self, image: Path, at: Path) -> None:
        self.at = at
        self._image = image

    def mount(self) -> None:
        """Put it in its place."""
        options = "loop,errors=remount-ro"
        _run("mount", "-o", options, str(self._image), str(self.at))

    def fail(self) -> None:
        """Let the kernel find an error on it: from now on it is read-only, as after a bad block."""
        name = _run("findmnt", "-no", "SOURCE", str(self.at)).rpartition("/")[2].strip()
        Path(f"/sys/fs/ext4/{name}/trigger_fs_error").write_text("1")

    @contextlib.contextmanager
    def hanging(self) -> Iterator[None]:
        """Let whoever writes to it wait meanwhile; a test that hangs there too, for a minute."""
        _run("fsfreeze", "-f", str(self.at))
        thaw = ["fsfreeze", "-u", str(self.at)]
        guard = subprocess.Popen(
            ["sh", "-c", 'sleep 60; exec "$@"', "sh", *thaw], start_new_session=True
        )
        try:
            yield
        finally:
            os.killpg(guard.pid, signal.SIGKILL)
            guard.wait()
            subprocess.run(thaw, check=False, capture_output=True)

    def repair(self) -> None:
        """Take it out, put it right and mount it again; nobody may use it."""
        _run("umount", str(self.at))
        done = subprocess.run(["fsck.ext4", "-fy", str(self._image)], check=False)
        assert done.returncode in {0, 1}, "1: put right"
        self.mount()

    def close(self) -> None:
        """Take it away, whoever uses it."""
        subprocess.run(["umount", "-l", str(self.at)], check=False, capture_output=True)


@pytest.fixture
def real_disk(tmp_path: Path) -> Iterator[RealDisk]:
    """A file system of 16 MB on a device of its own."""
    image, at = tmp_path / "image", tmp_path / "disk"
    at.mkdir()
    with image.open("wb") as file:
        file.truncate(16_000_000)
    _run("mkfs.ext4", "-q", str(image))
    disk = RealDisk(image, at)
    try:
        disk.mount()
    except subprocess.CalledProcessError:
        pytest.skip("to make a disk takes the right to mount one, and a loop device")
    yield disk
    disk.close()


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
