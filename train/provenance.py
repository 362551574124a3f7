"""Which code made something."""

import subprocess
from pathlib import Path


def code_version() -> str:
    """The commit of the checkout, marked where the training code differs from it; else unknown."""
    here = Path(__file__).resolve().parent
    try:
        commit = _git(here, "rev-parse", "--short=12", "HEAD")
        changed = _git(here, "status", "--porcelain", "--", str(here))
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{commit}-changed" if changed else commit


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *words],  # git is looked up like any user does
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()
