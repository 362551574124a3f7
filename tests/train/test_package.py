"""Serving never needs the training code; the commands tell a user's mistakes in one message."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_serving_never_imports_training():
    for path in (ROOT / "inspector").rglob("*.py"):
        text = path.read_text()
        assert not re.search(r"^\s*(from|import) train\b", text, re.MULTILINE), path


def test_a_mistake_gives_one_message_and_status_two(tmp_path):
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "train",
            "generate",
            "--references",
            str(tmp_path / "none"),
            "--out",
            str(tmp_path / "out"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.strip().endswith(f"error: there is no folder {tmp_path / 'none'}")
    assert "Traceback" not in done.stderr
