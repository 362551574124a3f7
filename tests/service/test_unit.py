"""The unit and its companions, judged by systemd's own tools."""

from __future__ import annotations

import re
import subprocess
from fnmatch import fnmatch
from typing import TYPE_CHECKING

import pytest

from inspector.cli import EXIT_USER
from inspector.cli.dashboard import LOOP_LIMIT_S
from inspector.observe import reporting
from inspector.signaller.service import READER_STOP_S
from inspector.station import STOP_WITHIN_S
from tests.service.unit import FLEET_UNIT, LINE_UNIT, ROOT, UNIT, Unit

if TYPE_CHECKING:
    from pathlib import Path

EXPOSURE_AT_MOST = 2.5
COMPANIONS = ROOT / "systemd"


def said(*command: str | Path) -> str:
    """What a tool says, on both of its outputs; it must end well."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def unit() -> Unit:
    return Unit.read(UNIT, "line-1")


each = pytest.mark.parametrize("file", [UNIT, LINE_UNIT, FLEET_UNIT], ids=lambda file: file.stem)


@each
def test_systemd_finds_nothing_wrong_with_it(file, tmp_path):
    launcher = tmp_path / "inspector"
    launcher.write_text("#!/bin/sh\n")
    launcher.chmod(0o755)
    text = file.read_text().replace("/usr/local/bin/inspector", str(launcher))
    placed = tmp_path / file.name
    placed.write_text(text)
    assert said("systemd-analyze", "verify", placed) == ""


@each
def test_its_exposure_is_small(file):
    threshold = f"--threshold={EXPOSURE_AT_MOST * 10:.0f}"
    report = said("systemd-analyze", "security", "--offline=true", "--no-pager", threshold, file)
    exposure = re.search(r"exposure level for \S+: ([0-9.]+)", report)
    assert float(exposure[1]) <= EXPOSURE_AT_MOST, report


def test_the_page_tells_the_settings_of_the_unit(unit):
    page = (ROOT / "docs" / "installation.md").read_text()
    section = page.split("## How the unit keeps it running")[1].split("\n## ")[0]
    cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    told = [hit for cell in cells for hit in re.findall(r"`(\w+)=([^`]+)`", cell)]
    assert len(told) > 8
    for name, value in told:
        values = unit.all(name) + unit.all(name, section="Unit")
        assert value in values, f"{name}={value}, and the unit has {values}"


def test_every_exception_has_its_reason():
    text = UNIT.read_text()
    exceptions = text[text.index("# --- exceptions") : text.index("[Install]")]
    for word in (
        *("PrivateNetwork", "IPAddressDeny", "PrivateDevices", "PrivateUsers", "@resources"),
        *("MemoryDenyWriteExecute", "ProcSubset", "groups"),
    ):
        assert word in exceptions, word
    for paragraph in exceptions.strip().split("\n\n"):
        assert paragraph.startswith("#"), paragraph


def test_the_signaller_is_guarded_as_the_station_and_needs_less():
    station, line = (Unit.read(file, "line-1") for file in (UNIT, LINE_UNIT))
    marks = ("Protect", "Private", "Restrict", "NoNew", "Capability", "Ambient", "Lock", "Keyring")
    asked = {name for (section, name) in station.settings if section == "Service"}
    for name in sorted(asked):
        if name.startswith(marks) and name not in {"PrivateUsers", "RestartSec"}:
            assert line.all(name) == station.all(name) or line.one(name) == "yes", name
    assert set(line.all("SystemCallFilter")) == {"@system-service", "~@privileged @resources"}
    for name in ("PrivateDevices", "PrivateUsers", "MemoryDenyWriteExecute"):
        assert line.one(name) == "yes"
    assert not line.all("DeviceAllow")


def test_the_fleet_view_may_do_what_the_signaller_may_and_writes_nothing():
    line, fleet = (Unit.read(file, "line-1") for file in (LINE_UNIT, FLEET_UNIT))
    own = {"ExecStart", "StateDirectory", "StateDirectoryMode", "WorkingDirectory", "WatchdogSec"}
    asked = {name for (section, name) in line.settings if section == "Service"} - own
    assert {name: fleet.all(name) for name in asked} == {name: line.all(name) for name in asked}
    assert not fleet.all("StateDirectory")
    assert fleet.seconds("WatchdogSec") > LOOP_LIMIT_S


@each
def test_no_clock_is_waited_for(file):
    # systemd-time-wait-sync waits for ever, and holds time-sync.target back as long.
    after = " ".join(Unit.read(file, "line-1").all("After", section="Unit"))
    assert "network.target" in after
    assert "time-sync.target" not in after


def test_what_cuda_opens_on_a_jetson_can_be_opened(unit):
    # nvmap is a miscellaneous device; the others are in /proc/devices as here, from JetPack 6 on.
    allowed = unit.all("DeviceAllow")
    assert "/dev/nvmap rw" in allowed
    groups = [entry.split()[0].removeprefix("char-") for entry in allowed if "char-" in entry]
    for name in ("17000000.gpu", "host1x-fence", "drm"):
        assert any(fnmatch(name, group) for group in groups), name


@each
def test_it_is_started_again_for_ever_but_for_a_users_mistake(file):
    unit = Unit.read(file, "line-1")
    assert unit.one("Restart") == "always"
    assert unit.one("StartLimitIntervalSec", section="Unit") == "0"
    assert unit.statuses("RestartPreventExitStatus") == {EXIT_USER}


def test_a_hung_station_runs_again_within_ten_seconds(unit):
    spans = [unit.seconds(name) for name in ("WatchdogSec", "TimeoutAbortSec", "RestartSec")]
    # A sign of life may be told up to two turns after the last that the hung loop did.
    assert sum(spans) + 2 * reporting.TURN_S <= 10
    assert unit.seconds("WatchdogSec") >= reporting.TURN_S * 4


def test_a_stop_has_the_time_that_it_takes(unit):
    assert unit.seconds("TimeoutStopSec") > STOP_WITHIN_S + 2
    assert unit.seconds("TimeoutStartSec") > reporting.EXTEND_S


def test_a_stop_of_the_signaller_has_the_time_that_it_takes():
    line = Unit.read(LINE_UNIT, "line-1")
    assert line.seconds("TimeoutStopSec") > READER_STOP_S + 4
    assert line.seconds("WatchdogSec") >= reporting.TURN_S * 4


def test_sysusers_make_the_user_and_its_groups(unit, tmp_path):
    (tmp_path / "etc").mkdir()
    file = COMPANIONS / "inspector.sysusers"
    report = said("systemd-sysusers", f"--root={tmp_path}", file)
    assert "Creating user 'inspector'" in report
    groups = dict(line.split(":", 1) for line in (tmp_path / "etc/group").read_text().splitlines())
    assert {unit.one("Group"), "video", "render"} <= set(groups)
    assert groups["video"].endswith(":inspector")
    assert groups["render"].endswith(":inspector")
    (user,) = (tmp_path / "etc/passwd").read_text().splitlines()
    assert user.startswith(f"{unit.one('User')}:x:")
    assert user.endswith("/nologin")


def test_tmpfiles_make_the_folders_that_the_unit_needs(unit, tmp_path):
    said("systemd-tmpfiles", "--create", f"--root={tmp_path}", COMPANIONS / "inspector.tmpfiles")
    _, secrets = unit.one("LoadCredential").split(":")
    assert (tmp_path / secrets.lstrip("/")).stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "var/lib/inspector").is_dir()


def test_nothing_of_a_station_is_ever_aged_or_removed():
    rules = [
        line.split()
        for line in (COMPANIONS / "inspector.tmpfiles").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    assert {rule[0] for rule in rules} == {"d"}
    assert {rule[5] for rule in rules} == {"-"}
