"""`make bundle`: what a box without any network needs, all of it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.installation.conftest import ROOT, Checkout, Installed

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.xdist_group("installation"),
]

NOWHERE = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--net", "--map-root-user"]
"""Runs a command where there is no network, not even loopback."""


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
    with tarfile.open(archive) as file:
        file.extractall(tmp_path, filter="data")
    bundle = tmp_path / archive.name.split("-py")[0]
    box = Installed(tmp_path / "box")
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DESTDIR": str(box.root)}

    def alone(*command: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*NOWHERE, *command], cwd=tmp_path, env=environment, capture_output=True, text=True,
            timeout=600, check=False,
        )  # fmt: skip

    assert alone("ip", "-brief", "address").stdout.split()[:2] == ["lo", "DOWN"]
    done = alone("sh", bundle / "install.sh")
    assert done.returncode == 0, done
    picture = next((ROOT / "configs" / "demo" / "pictures").glob("*-good.webp"))
    python = box / "/usr/local/lib/inspector/bin/python"
    done = alone(python, "-P", "-m", "inspector.cli", "classify", "--json", picture)
    assert done.returncode == 0, done
    assert json.loads(done.stdout)["verdict"] in {"accepted", "rejected", "uncertain"}
