"""One bundle and one installation for all tests here: both take their time."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Checkout:
    """`make` in this checkout, with the environment that runs the tests.

    Attributes:
        stamps: says that this environment has the build tools; those of the checkout stay as they
            are.
    """

    stamps: Path

    def make(self, *words: str) -> str:
        """Run make, which must end well; gives what it printed."""
        command = ["make", f"BIN={Path(sys.executable).parent}", f"STAMPS={self.stamps}", *words]
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    stamps = tmp_path_factory.mktemp("stamps")
    (stamps / "build").touch()
    return Checkout(stamps)


class Installed:
    """A box below a folder, as `make install DESTDIR=...` left it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __truediv__(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def files(self) -> set[str]:
        """Paths of all files, but for those of the environment."""
        found = (path for path in self.root.rglob("*") if not path.is_dir())
        paths = {f"/{path.relative_to(self.root)}" for path in found}
        return {path for path in paths if not path.startswith("/usr/local/lib/inspector/")}

    def run(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """`inspector` of the box. Its launcher names the place where it will be, not DESTDIR."""
        python = self / "/usr/local/lib/inspector/bin/python"
        return subprocess.run(
            [python, "-P", "-m", "inspector.cli", *words],
            capture_output=True, text=True, timeout=120, check=False, cwd=self.root,
            env={"PATH": os.environ["PATH"]},
        )  # fmt: skip
