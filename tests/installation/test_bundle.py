"""`make bundle`: what a box without any network needs, all of it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.installation.conftest import ROOT, Checkout

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.xdist_group("installation"),
    pytest.mark.skipif(os.geteuid() != 0, reason="installing as root takes root"),
]

NOWHERE = ["unshare", "--net", "--mount"]
"""Runs a command where there is no network, not even loopback, and with mounts of its own."""
BARE_BOX = Path(__file__).parent / "bare_box.sh"


@pytest.fixture(scope="module")
def archive(checkout: Checkout) -> Path:
    checkout.make("bundle")
    return max((ROOT / "dist").glob("inspector-*.tar.gz"), key=lambda path: path.stat().st_mtime)


def test_its_name_says_for_which_boxes_it_is(archive):
    assert re.fullmatch(r"inspector-[0-9.]+-py3\.\d+-\w+\.tar\.gz", archive.name)


def test_it_holds_one_folder_and_nothing_of_training_or_tests(archive):
    with tarfile.open(archive) as file:
        names = file.getnames()
    assert {name.split("/")[0] for name in names} == {archive.name.split("-py")[0]}
    wheels = [Path(name).name for name in names if name.endswith(".whl")]
    assert [name for name in wheels if name.startswith("inspector-")]
    assert not [name for name in wheels if re.match(r"torch|timm|lightning|pytest|ruff", name)]
    for engine in (ROOT / "engines").iterdir():
        assert f"{archive.name.split('-py')[0]}/engines/{engine.name}/manifest.yaml" in names


def test_a_box_without_network_gets_a_station_that_judges(archive, tmp_path):
    """Installed as root in its real places, used by the user of the service, and gone again."""
    with tarfile.open(archive) as file:
        file.extractall(tmp_path, filter="data")
    bundle = tmp_path / archive.name.split("-py")[0]
    picture = next((ROOT / "configs" / "demo" / "pictures").glob("*-good.webp"))
    steps = f"""
        ip -brief address >{tmp_path}/network
        sh {bundle}/install.sh
        cp {picture} /run/picture.webp
        setpriv --reuid inspector --regid inspector --init-groups --no-new-privs \\
            inspector classify --json /run/picture.webp >{tmp_path}/verdict
        systemd-analyze verify /usr/local/lib/systemd/system/inspector@.service \\
            /usr/local/lib/systemd/system/inspector-line@.service \\
            /usr/local/lib/systemd/system/inspector-fleet@.service
        id inspector >{tmp_path}/user
        find /etc/inspector /var/lib/inspector -printf '%p %m\\n' | sort >{tmp_path}/folders
        sh /usr/local/share/inspector/install.sh --uninstall
        find /usr/local/lib /usr/local/bin -name '*inspector*' >{tmp_path}/left
    """
    done = subprocess.run(
        [*NOWHERE, "sh", BARE_BOX, tmp_path, steps],
        cwd=tmp_path, capture_output=True, text=True, timeout=800, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done
    said = [line for line in done.stderr.splitlines() if not line.startswith("Creating ")]
    assert said == []
    assert (tmp_path / "network").read_text().split()[:2] == ["lo", "DOWN"]
    verdict = json.loads((tmp_path / "verdict").read_text())["verdict"]
    assert verdict in {"accepted", "rejected", "uncertain"}
    groups = re.findall(r"\(([a-z]+)\)", (tmp_path / "user").read_text())
    assert {"inspector", "video", "render"} <= set(groups)
    assert (tmp_path / "folders").read_text().splitlines() == [
        "/etc/inspector 755",
        "/etc/inspector/example.yaml 644",
        "/etc/inspector/secrets 700",
        "/var/lib/inspector 755",
        "/var/lib/inspector/engines 755",
    ]
    assert (tmp_path / "left").read_text() == ""
    assert (tmp_path / "asked").read_text().splitlines() == [
        "systemctl daemon-reload",
        *(
            f"systemctl {what} inspector@*.service inspector-line@*.service"
            " inspector-fleet@*.service"
            for what in ("try-restart", "stop")
        ),
        "systemctl daemon-reload",
    ]
