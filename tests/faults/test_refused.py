"""What no station starts with: a faulty file, a secret that is missing, an engine that lies."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.engine import tiny_engine
from tests.engine.test_golden import change_golden

if TYPE_CHECKING:
    from pathlib import Path


def run(file: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "inspector.cli", "run", str(file), "--log-format=json"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": "/usr/bin:/bin"},
    )


def refused(file: Path, status: int = 2) -> str:
    """The one message of a station that did not start."""
    done = run(file)
    assert done.returncode == status, done
    assert "Traceback" not in done.stdout + done.stderr
    start = done.stderr.index("inspector: ")
    return done.stderr[start:]


def test_every_fault_is_told_and_nothing_is_started(tmp_path):
    file = tmp_path / "station.yaml"
    file.write_text(
        "version: 1\n"
        "station: Line 1\n"
        "state: state\n"
        "cameras:\n"
        "  a: {source: {kind: pattern, fps: 999}}\n"
        "  b: {source: {kind: rtsp, url: rtsp://h/x}, credentials: {username: U, password: P}}\n"
        "  b: {source: {kind: video, path: 7}, slot: 3}\n"
    )
    said = refused(file)
    lines = [line.strip() for line in said.splitlines()[1:]]
    assert [line.split(": ")[:2] for line in lines] == [
        ["line 2", "station"],
        ["line 5", "cameras.a.source.fps"],
        ["line 7", "cameras.b"],
        ["line 7", "cameras.b.source.path"],
        ["line 7", "cameras.b.slot"],
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["station.yaml"]


def test_missing_secrets_start_nothing(tmp_path):
    file = tmp_path / "station.yaml"
    file.write_text(
        "version: 1\nstation: line-1\nstate: state\ncameras:\n"
        "  b: {source: {kind: rtsp, url: rtsp://h/x}, credentials: {username: U, password: P}}\n"
    )
    said = refused(file)
    assert "line 5: cameras.b.credentials.username: the secret U is not set" in said
    assert "line 5: cameras.b.credentials.password: the secret P is not set" in said
    assert [path.name for path in tmp_path.iterdir()] == ["station.yaml"]


def station_of_tiny(folder: Path) -> Path:
    file = folder / "station.yaml"
    file.write_text(
        "version: 1\nstation: line-1\nstate: state\nengine: {screen: tiny, folder: engines}\n"
        "cameras: {a: {source: {kind: pattern}}}\nweb: {listen: '127.0.0.1:0'}\n"
    )
    return file


def other_bytes(home: Path) -> None:
    with (home / "model.onnx").open("ab") as file:
        file.write(b"\0")


def without_a_file(home: Path) -> None:
    (home / "model.int8.onnx").unlink()


def without_a_manifest(home: Path) -> None:
    (home / "manifest.yaml").unlink()


def other_probabilities(home: Path) -> None:
    """The golden tiles say something else than the network, all digests in order."""
    change_golden(home, less_sure)


def less_sure(tiles: list[dict[str, Any]]) -> None:
    row = tiles[0]["probabilities"]
    high, low = row.index(max(row)), row.index(min(row))
    row[high], row[low] = row[high] - 0.2, row[low] + 0.2


def test_engines_on_a_disk_that_is_mounted_late_are_waited_for(tmp_path):
    """Status 1: the service manager tries again."""
    said = refused(station_of_tiny(tmp_path), status=1)
    assert f"the station cannot serve yet: no folder of engines at {tmp_path / 'engines'}" in said
    assert "mount its disk" in said


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (other_bytes, ("model.onnx has sha256", "expected", "install the engine again")),
        (without_a_file, ("cannot read", "model.int8.onnx: No such file")),
        (without_a_manifest, ("no engine tiny in",)),
        (
            other_probabilities,
            ("does not reproduce its golden tiles", "largest gap 0.2", "allowed"),
        ),
    ],
)
def test_an_engine_that_cannot_be_trusted_is_not_served(tmp_path, spoil, says):
    home = tiny_engine.make(tmp_path / "engines", "tiny")
    spoil(home)
    said = refused(station_of_tiny(tmp_path))
    for part in says:
        assert part in said
