"""The unit of an installed station as the doctor sees it; the unit is the shipped one."""

from __future__ import annotations

import getpass
import shutil
from pathlib import Path

import pytest

from inspector.doctor.finding import Grade
from inspector.doctor.service import check_service, state_finding
from tests.rights import only_as_the_mode_says

SYSTEMD = Path(__file__).parents[2] / "systemd"


class Box:
    """The files of a box on which a station was installed."""

    def __init__(self, root: Path, station_file) -> None:
        self.root = root
        self._station_file = station_file
        self.config = root / "etc/inspector"
        self.secrets = self.config / "secrets"
        self.secrets.mkdir(parents=True, mode=0o700)
        self.units = root / "usr/local/lib/systemd/system"
        self.units.mkdir(parents=True)
        shutil.copy(SYSTEMD / "inspector@.service", self.units)
        launcher = root / "usr/local/bin/inspector"
        launcher.parent.mkdir(parents=True)
        launcher.write_text("#!/bin/sh\n")
        launcher.chmod(0o755)
        self.drop_in("inspector@", "10-user", f"[Service]\nUser={getpass.getuser()}\n")

    def drop_in(self, unit: str, name: str, text: str) -> None:
        folder = self.root / f"etc/systemd/system/{unit}.service.d"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.conf").write_text(text)

    def enable(self, name: str = "line-1") -> None:
        wants = self.root / "etc/systemd/system/multi-user.target.wants"
        wants.mkdir(parents=True, exist_ok=True)
        (wants / f"inspector@{name}.service").symlink_to(self.units / "inspector@.service")

    def secret(self, name: str, value: str = "hunter2", mode: int = 0o600) -> None:
        (self.secrets / name).write_text(value)
        (self.secrets / name).chmod(mode)

    def found(self, file: Path | None = None):
        """The findings, by name, of a station with a token and a camera's log-in."""
        from inspector.config.load import read_station

        login = {"username": "CAM_USER", "password": "CAM_PASSWORD"}
        camera = {"source": {"kind": "rtsp", "url": "rtsp://h/1"}, "credentials": login}
        written = self._station_file(cameras={"a": camera}, web={"token": "WEB_TOKEN"})
        path = file or self.config / "line-1.yaml"
        shutil.copy(written, path)
        findings = list(check_service(read_station(path).station, path, self.root))
        assert "hunter2" not in repr(findings)
        return {finding.name: finding for finding in findings}


@pytest.fixture
def box(tmp_path, station_file):
    return Box(tmp_path / "root", station_file)


def test_where_nothing_is_installed_it_is_a_note(box):
    (box.units / "inspector@.service").unlink()
    found = box.found()
    assert [(f.name, f.grade) for f in found.values()] == [("unit", Grade.NOTE)]
    assert "make install" in found["unit"].remedy


def test_a_file_that_no_unit_runs_is_a_note(box, tmp_path):
    (found,) = box.found(tmp_path / "elsewhere.yaml").values()
    assert found.grade is Grade.NOTE
    assert "runs /etc/inspector/NAME.yaml" in found.found


def test_installed_enabled_and_with_its_secrets(box):
    box.enable()
    for name in ("CAM_USER", "CAM_PASSWORD", "WEB_TOKEN"):
        box.secret(name)
    found = box.found()
    assert {name: f.grade for name, f in found.items()} == {
        "unit": Grade.GOOD, "secrets": Grade.GOOD,
    }  # fmt: skip
    assert "CAM_USER, CAM_PASSWORD, WEB_TOKEN" in found["secrets"].found


def test_not_enabled_or_masked(box):
    box.enable("line-2")
    found = box.found()["unit"]
    assert (found.grade, found.remedy) == (Grade.MEND, "systemctl enable --now inspector@line-1")
    (box.root / "etc/systemd/system/inspector@line-1.service").symlink_to("/dev/null")
    masked = box.found()["unit"]
    assert (masked.grade, masked.remedy) == (Grade.MEND, "systemctl unmask inspector@line-1")


def test_secrets_that_the_service_would_not_get(box):
    box.enable()
    box.secret("CAM_USER", mode=0o644)
    box.secret("CAM_PASSWORD", "")
    (box.secrets / "WEB_TOKEN").symlink_to(box.secrets / "CAM_USER")
    found = box.found()["secrets"]
    assert found.grade is Grade.MEND
    assert found.found == (
        "CAM_USER: /etc/inspector/secrets/CAM_USER may be read by others than root (mode 644); "
        "CAM_PASSWORD: /etc/inspector/secrets/CAM_PASSWORD is empty; "
        "WEB_TOKEN: /etc/inspector/secrets/WEB_TOKEN is a link, which systemd passes over"
    )
    (box.secrets / "CAM_USER").unlink()
    assert "CAM_USER: /etc/inspector/secrets/CAM_USER is not there" in box.found()["secrets"].found
    shutil.rmtree(box.secrets)
    gone = box.found()["secrets"]
    assert (gone.grade, gone.remedy) == (Grade.MEND, "install -d -m 700 /etc/inspector/secrets")


def test_a_secret_from_elsewhere_by_a_drop_in(box):
    box.enable()
    for name in ("CAM_USER", "WEB_TOKEN"):
        box.secret(name)
    box.drop_in(
        "inspector@line-1", "20-vault", "[Service]\nLoadCredential=CAM_PASSWORD:/run/vault/cam\n"
    )
    assert "CAM_PASSWORD: /run/vault/cam is not there" in box.found()["secrets"].found
    vault = box.root / "run/vault"
    vault.mkdir(parents=True)
    (vault / "cam").write_text("hunter2")
    (vault / "cam").chmod(0o600)
    assert box.found()["secrets"].grade is Grade.GOOD


def test_who_may_not_look_at_the_secrets_says_so(box):
    box.enable()
    box.secrets.chmod(0)
    with only_as_the_mode_says():
        found = box.found()["secrets"]
    assert (found.grade, found.remedy) == (Grade.NOTE, "run the doctor as root")


def test_a_program_and_a_user_that_are_not_there(box):
    box.enable()
    (box.root / "usr/local/bin/inspector").unlink()
    box.drop_in("inspector@", "20-user", "[Service]\nUser=no-such-user\n")
    found = box.found()
    assert found["program"].grade is found["user"].grade is Grade.MEND
    assert "starts /usr/local/bin/inspector, which is not there" in found["program"].found
    assert "no-such-user" in found["user"].found


@pytest.mark.parametrize(
    ("told", "grade", "words"),
    [
        ("ActiveState=active\nSubState=running\nNRestarts=0\nResult=success\n", Grade.GOOD,
         "enabled and active (running)"),
        ("ActiveState=activating\nSubState=auto-restart\nNRestarts=7\nResult=watchdog\n",
         Grade.MEND, "activating (auto-restart), started again 7 times: watchdog"),
        ("ActiveState=failed\nSubState=failed\nNRestarts=0\nResult=exit-code\n", Grade.MEND,
         "failed (failed): exit-code"),
        ("ActiveState=inactive\nSubState=dead\nNRestarts=0\n", Grade.GOOD, "inactive (dead)"),
        ("", Grade.GOOD, "does not run here"),
    ],
)  # fmt: skip
def test_what_systemd_says_of_the_unit(told, grade, words):
    found = state_finding("inspector@line-1", told)
    assert (found.grade, words in found.found) == (grade, True)
