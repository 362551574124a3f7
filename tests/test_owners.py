"""Root leaves the folders of other users to them."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from inspector.owners import leave_to_owner, why_denied
from tests.cli.test_main import inspector

if TYPE_CHECKING:
    from pathlib import Path

OTHER = "daemon"
NAMELESS = 12345
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="to give a folder to others takes root")


def given_away(folder: Path) -> Path:
    folder.mkdir(parents=True)
    shutil.chown(folder, OTHER)
    return folder


def written(folder: Path, **said: Any) -> str:
    file = folder / "file.yaml"
    file.write_text(yaml.safe_dump({"version": 1, "state": str(folder / "state"), **said}))
    return str(file)


def station(folder: Path, **said: Any) -> str:
    cameras = {"infeed": {"source": {"kind": "pattern"}}}
    return written(folder, station="packing-07", cameras=cameras, **said)


def signaller(folder: Path) -> str:
    line = {"modbus": {"host": "127.0.0.1"}, "cameras": {"packing-07/infeed": {}}}
    kafka = {"bootstrap_servers": ["127.0.0.1:1"]}
    return written(folder, signaller="packing", kafka=kafka, line=line)


@as_root
@pytest.mark.parametrize("whose", ["state", "evidence", "plans"])
def test_root_runs_no_station_on_the_folders_of_a_service(tmp_path: Path, whose: str) -> None:
    """What it made there would keep the service from its outbox, or from its evidence."""
    theirs = given_away(tmp_path / whose)
    elsewhere = {"folder": str(tmp_path / "evidence")}
    engine = {"plans": str(tmp_path / "plans")}
    done = inspector("run", station(tmp_path, evidence=elsewhere, engine=engine))
    assert done.returncode == 2
    said = f"inspector: {theirs} belongs to {OTHER}, and this command runs as root"
    assert done.stderr.startswith(said)
    todo = f"systemctl start); else run the command as {OTHER}: sudo -u {OTHER} inspector"
    assert todo in done.stderr
    assert list(theirs.iterdir()) == []


@as_root
@pytest.mark.parametrize(
    ("command", "file"),
    [
        (["line"], signaller),
        (["engines", "build", "--runtime", "tensorrt", "--station"], station),
    ],
    ids=["line", "engines build"],
)
def test_other_commands_of_root_write_no_state_of_a_service(
    tmp_path: Path, command: list[str], file: Any
) -> None:
    theirs = given_away(tmp_path / "state")
    done = inspector(*command, file(tmp_path))
    assert done.returncode == 2
    assert f"{theirs} belongs to {OTHER}" in done.stderr
    assert list(theirs.iterdir()) == []


@as_root
def test_a_user_whom_nobody_knows_is_outside_of_a_container(tmp_path: Path) -> None:
    os.chown(tmp_path, NAMELESS, -1)
    leave_to_owner([tmp_path])
    assert f"belongs to user {NAMELESS}, and this process runs as root" in why_denied(tmp_path)


def test_ones_own_folder_and_one_that_is_not_there_are_taken(tmp_path: Path) -> None:
    leave_to_owner([tmp_path, tmp_path / "nowhere"])
    assert why_denied(tmp_path, tmp_path / "nowhere") == ""


@as_root
def test_who_is_not_root_has_the_rights_that_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A group may share a folder: then the kernel decides, and not we."""
    theirs = given_away(tmp_path / "state")
    monkeypatch.setattr(os, "geteuid", lambda: NAMELESS)
    leave_to_owner([theirs])
