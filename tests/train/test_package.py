"""Serving never needs the training code; the commands tell a user's mistakes in one message."""

import errno
import re
import subprocess
import sys
from pathlib import Path

import pytest

from train import cli

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


def test_a_full_disk_gives_one_message_and_status_one(monkeypatch, capsys):
    def full():
        raise OSError(errno.ENOSPC, "No space left on device", "runs/last.ckpt")

    monkeypatch.setattr(cli, "app", full)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    assert capsys.readouterr().err == (
        "error: No space left on device: runs/last.ckpt; files that are there are whole: make room"
        " and run the same command again\n"
    )


def test_other_faults_of_the_system_keep_their_traceback(monkeypatch):
    def failing():
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(cli, "app", failing)
    with pytest.raises(OSError, match="Input/output"):
        cli.main()
