"""Which code made something."""

import hashlib
import subprocess
from pathlib import Path

_MAKES_FRAMES = ("camera.py", "data/frames.py", "distortions/*.py")


def code_version() -> str:
    """The commit of the checkout, marked where the training code differs from it; else unknown."""
    here = Path(__file__).resolve().parent
    try:
        commit = _git(here, "rev-parse", "--short=12", "HEAD")
        changed = _git(here, "status", "--porcelain", "--", str(here))
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{commit}-changed" if changed else commit


def frames_made_by() -> str:
    """Digest of the code that makes a frame: other code makes other frames of the same plan."""
    here = Path(__file__).resolve().parent
    digest = hashlib.sha256()
    for pattern in _MAKES_FRAMES:
        for file in sorted(here.glob(pattern)):
            digest.update(file.read_bytes())
    return digest.hexdigest()


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *words],  # git is looked up like any user does
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()
