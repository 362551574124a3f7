"""`make install` into an empty folder, the installation over it, and `make uninstall`.

The tests run in their order on one box.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.installation.conftest import ROOT, Checkout, Installed

pytestmark = [pytest.mark.timeout(1800), pytest.mark.xdist_group("installation")]

PLACED = {
    "/etc/inspector/example.yaml",
    "/usr/local/bin/inspector",
    "/usr/local/lib/systemd/system/inspector-fleet@.service",
    "/usr/local/lib/systemd/system/inspector-line@.service",
    "/usr/local/lib/systemd/system/inspector@.service",
    "/usr/local/lib/sysusers.d/inspector.conf",
    "/usr/local/lib/tmpfiles.d/inspector.conf",
    "/usr/local/share/inspector/example-fleet.yaml",
    "/usr/local/share/inspector/example-line.yaml",
    "/usr/local/share/inspector/example.yaml",
    "/usr/local/share/inspector/install.sh",
}
DOCS = "/usr/local/share/doc/inspector/"
PAGES = (
    "configuration", "dashboard", "engines", "events", "fleet", "installation", "line",
    "monitoring", "operation", "performance", "plans",
)  # fmt: skip
"""All but those of training and development."""


@pytest.fixture(scope="module")
def box(checkout: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    root = tmp_path_factory.mktemp("box")
    checkout.make("install", f"DESTDIR={root}")
    return Installed(root)


def test_everything_is_in_its_place(box):
    assert {path for path in box.files() if not path.startswith(DOCS)} == PLACED
    assert (box / "/etc/inspector/secrets").stat().st_mode & 0o777 == 0o700
    assert (box / "/usr/local/bin/inspector").stat().st_mode & 0o777 == 0o755
    assert not list(box.root.rglob("*.new"))
    # No script that would name the folder in which it was made.
    programs = {path.name for path in (box / "/usr/local/lib/inspector/bin").iterdir()}
    assert {re.sub(r"[0-9.]", "", name) for name in programs} == {"python"}
    assert str(box.root) not in (box / "/usr/local/lib/inspector/pyvenv.cfg").read_text()
    assert str(box.root) not in (box / "/usr/local/bin/inspector").read_text()


def test_the_pages_for_the_hour_of_need_are_on_the_box(box):
    docs = box / DOCS
    assert {page.stem for page in docs.glob("*.md")} == set(PAGES)
    for page in docs.glob("*.md"):
        for link in re.findall(r"\]\(([^)\s#]+)[^)\s]*\)", page.read_text()):
            assert link.startswith("https:") or (docs / link).exists(), f"{page.name}: {link}"
    for file in ("images/fleet.webp", "plc/inspection.st", "images/line-states.svg"):
        assert (docs / file).read_bytes() == (ROOT / "docs" / file).read_bytes()
    for folder in ("prometheus", "grafana"):
        shipped = {path.name for path in (ROOT / "configs" / folder).rglob("*")}
        assert {path.name for path in (docs / "configs" / folder).rglob("*")} == shipped
    for example in (box / "/usr/local/share/inspector").glob("*.yaml"):
        for page in re.findall(r"\S+\.md", example.read_text()):
            assert (box / page).exists(), f"{example.name} names {page}"


def test_the_environment_is_the_lock_and_the_station(box):
    packages = box / "/usr/local/lib/inspector/lib"
    found = {path.name.split("-")[0].lower() for path in packages.rglob("*.dist-info")}
    lock = (ROOT / "requirements" / "run.txt").read_text()
    locked = re.findall(
        r"^([A-Za-z0-9._-]+)==\S+(?! ; sys_platform == 'win32')", lock, re.MULTILINE
    )
    wanted = {name.lower().replace("-", "_") for name in locked} - {"colorama"}
    assert found == wanted | {"inspector"}


def test_the_station_of_the_box_works(box):
    assert box.run("--version").stdout.startswith("inspector ")
    done = box.run("check", "--no-secrets", "/etc/inspector/example.yaml".lstrip("/"))
    assert done.returncode == 0, done
    engines = box.run("engines", "list").stdout
    for engine in (ROOT / "engines").iterdir():
        assert engine.name in engines


def test_an_upgrade_keeps_what_the_box_has(box, checkout):
    """Outbox, evidence, plans, station files and secrets; a station file nobody wrote over."""
    state = box / "/var/lib/inspector/line-1"
    place = next((box / "/usr/local/lib/inspector/lib").glob("*/site-packages/inspector/_engines"))
    kept = {
        box / "/var/lib/inspector/engines/mine/manifest.yaml": b"an engine of one's own\n",
        place / "lost" / "manifest.yaml": b"an engine among the shipped ones\n",
        state / "outbox.sqlite": b"events",
        state / "evidence" / "2026-01-01" / "infeed" / "1.jpeg": b"picture",
        state / "plans" / "simplenet.plan": b"plan",
        box / "/etc/inspector/line-1.yaml": b"version: 1\n",
        box / "/etc/inspector/example.yaml": b"changed by hand\n",
        box / "/etc/inspector/secrets/CAM_PASSWORD": b"hunter2",
    }
    for path, content in kept.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    stale = box / "/usr/local/lib/inspector/lib/stale-module.py"
    stale.touch()
    unit = box / "/usr/local/lib/systemd/system/inspector@.service"
    unit.write_text("an older unit\n")

    told = checkout.make("install", f"DESTDIR={box.root}")

    assert "The engine lost is not of this bundle and was carried over" in told
    assert {path: path.read_bytes() for path in kept} == kept
    assert not stale.exists()
    assert unit.read_text() == (ROOT / "systemd" / "inspector@.service").read_text()
    assert box.run("--version").returncode == 0
    home = box / "/usr/local/lib"
    assert [path.name for path in home.glob("inspector*")] == ["inspector"]


def test_an_upgrade_that_fails_leaves_the_old_one(box, checkout, tmp_path):
    bundle = next((ROOT / "build").glob("inspector-*/SHA256SUMS")).parent
    damaged = tmp_path / "bundle"
    shutil.copytree(bundle, damaged, copy_function=_link)
    wheel = next(damaged.glob("wheels/structlog-*.whl"))
    content = wheel.read_bytes()
    wheel.unlink()
    wheel.write_bytes(content[:-100])

    told = install_from(damaged, box.root)
    assert "the bundle is damaged" in told
    assert wheel.name in told

    sums = damaged / "SHA256SUMS"
    lines = [line for line in sums.read_text().splitlines() if wheel.name not in line]
    sums.unlink()
    sums.write_text("\n".join(lines) + "\n")
    assert "the wheels cannot be installed" in install_from(damaged, box.root)
    assert box.run("--version").returncode == 0
    assert [path.name for path in (box / "/usr/local/lib").glob("inspector*")] == ["inspector"]


@pytest.mark.parametrize(
    ("made_for", "says"),
    [
        ("3.99 {machine}", "this bundle is for Python 3.99, and there is none here"),
        ("3.11 pdp11", "this bundle is for pdp11, this box is "),
    ],
)
def test_a_bundle_for_another_box_says_so(tmp_path, made_for, says):
    machine = subprocess.run(["uname", "-m"], capture_output=True, text=True, check=True).stdout
    shutil.copy(ROOT / "tools" / "install.sh", tmp_path)
    (tmp_path / "made-for").write_text(made_for.format(machine=machine.strip()) + "\n")
    (tmp_path / "SHA256SUMS").touch()
    sums = subprocess.run(
        ["sha256sum", "made-for"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    (tmp_path / "SHA256SUMS").write_text(sums.stdout)
    assert says in install_from(tmp_path, tmp_path / "root")
    assert not (tmp_path / "root").exists()


def test_uninstall_takes_everything_but_configuration_and_state(box, checkout):
    state = box / "/var/lib/inspector/line-1/outbox.sqlite"
    state.parent.mkdir(parents=True, exist_ok=True)
    state.touch()
    told = checkout.make("uninstall", f"DESTDIR={box.root}")
    assert "/etc/inspector" in told
    left = box.files()
    assert not [path for path in left if path.startswith("/usr/")]
    assert not (box / "/usr/local/lib/inspector").exists()
    assert "/etc/inspector/example.yaml" in left
    assert state.exists()
    # Once more, on a box where nothing is installed.
    checkout.make("uninstall", f"DESTDIR={box.root}")


def test_another_prefix_is_named_in_unit_and_launcher(tmp_path, monkeypatch):
    """The paths of the default PREFIX become those of the one asked for; the environment apart."""
    script = (ROOT / "tools" / "install.sh").read_text()
    put = script[script.index("put() {") :].split("\n}\n")[0] + "\n}\n"
    units = " ".join(f"'{path}'" for path in sorted((ROOT / "systemd").glob("*.service")))
    command = f'{put}\nfor unit in {units}; do put 644 "$unit" "/${{unit##*/}}"; done'
    subprocess.run(
        ["sh", "-euc", command], check=True, env={"PREFIX": "/opt/x", "DESTDIR": str(tmp_path),
                                                  "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    commands = {"inspector@": "run", "inspector-line@": "line", "inspector-fleet@": "dashboard"}
    for unit, command in commands.items():
        text = (tmp_path / f"{unit}.service").read_text()
        assert f"ExecStart=/opt/x/bin/inspector {command}" in text
        assert "/usr/local" not in text


@pytest.fixture
def two_homes(tmp_path):
    """An environment and its successor, and a way to call the script's own functions on them."""
    for name in ("inspector", "inspector.new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "which").write_text(name)
    script = (ROOT / "tools" / "install.sh").read_text()
    functions = script[script.index("fail() {") : script.index("# put MODE")]

    def call(command: str) -> subprocess.CompletedProcess[str]:
        given = f"python={sys.executable} target={tmp_path}/inspector new={tmp_path}/inspector.new"
        return subprocess.run(
            ["sh", "-euc", f"home=\nhere=\n{functions}\n{given}\n{command}"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    return call


def there(folder):
    return {home.name: (home / "which").read_text() for home in folder.glob("inspector*")}


def test_the_new_environment_takes_its_place_in_one_step(two_homes, tmp_path):
    done = two_homes("mv() { exit 9; }; take_place")
    assert done.returncode == 0, "two moves would leave a moment with none"
    assert there(tmp_path) == {"inspector": "inspector.new", "inspector.new": "inspector"}


def test_where_there_is_no_such_step_the_old_one_is_moved_aside(two_homes, tmp_path):
    done = two_homes("exchange='import sys; sys.exit(1)'; take_place")
    assert done.returncode == 0
    assert there(tmp_path) == {"inspector": "inspector.new", "inspector.old": "inspector"}


def test_a_move_that_fails_brings_the_old_one_back(two_homes, tmp_path):
    failing = 'mv() { case $1 in *.new) return 1 ;; esac; command mv "$@"; }'
    done = two_homes(f"exchange='import sys; sys.exit(1)'; {failing}; take_place")
    assert done.returncode == 1
    assert "the old one is still there" in done.stderr
    assert there(tmp_path)["inspector"] == "inspector"


# --- an upgrade that the stations do not take ---------------------------------------------------

STATION = "version: 1\nstation: a\ncameras: {a: {source: {kind: pattern}}}\n"


@pytest.fixture
def upgrade(two_homes, tmp_path):
    """The script's functions on two homes, with a service manager that knows what is `enabled`."""
    python = tmp_path / "inspector.new" / "bin" / "python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    (tmp_path / "etc").mkdir()
    (tmp_path / "units").mkdir()

    def call(command, *, enabled="", restarts=True):
        systemctl = f"""systemctl() {{
            case $1 in
            is-enabled) for unit in {enabled}; do case " $* " in *" $unit "*) return ;; esac; done
                return 1 ;;
            list-units) echo "inspector@a.service loaded active running A station" ;;
            try-restart) {"true" if restarts else "false"} ;;
            *) return 1 ;;
            esac
        }}"""
        given = f"DESTDIR=; config={tmp_path}/etc; units={tmp_path}/units; services=a.service"
        return two_homes(f"{given}\n{systemctl}\nlive() {{ true; }}\n{command}")

    return call


def test_a_station_file_that_the_new_version_refuses_stops_the_upgrade(upgrade, tmp_path):
    (tmp_path / "etc" / "a.yaml").write_text(STATION)
    (tmp_path / "etc" / "b.yaml").write_text(STATION + "moode: observe\n")
    done = upgrade("check_stations", enabled="inspector@a")
    assert done.returncode == 0, "b is not in use"
    done = upgrade("check_stations; take_place", enabled="inspector@a inspector-line@b")
    assert done.returncode == 1
    assert f"the new version refuses, for the reasons above: {tmp_path}/etc/b.yaml" in done.stderr
    assert "line 4: moode" in done.stderr
    assert there(tmp_path)["inspector"] == "inspector"
    done = upgrade("live() { false; }; check_stations")
    assert done.returncode == 1, "where nobody can tell which are in use, all are read"


def test_the_old_version_stays_until_the_stations_run_on_the_new_one(upgrade, tmp_path):
    (tmp_path / "units" / "a.service").write_text("old")
    steps = "take_place; keep_old; echo new >$units/a.service; restart_stations"
    done = upgrade(steps, restarts=False)
    assert done.returncode == 1
    assert "not every station started with the new version" in done.stderr
    assert there(tmp_path)["inspector"] == "inspector.new"
    way_back = [line.strip() for line in done.stderr.splitlines() if line.startswith("    ")]
    assert way_back.pop() == "systemctl daemon-reload && systemctl restart inspector@a.service"
    subprocess.run(["sh", "-euc", "\n".join(way_back)], check=True)
    assert there(tmp_path)["inspector"] == "inspector"
    assert (tmp_path / "units" / "a.service").read_text() == "old"


def test_stations_that_run_on_the_new_version_need_no_way_back(upgrade):
    done = upgrade("take_place; keep_old; restart_stations; trap - EXIT")
    assert (done.returncode, done.stderr) == (0, "")


# --- what the pages say ------------------------------------------------------------------------


def test_the_wheels_are_not_built_by_root():
    text = (ROOT / "docs" / "installation.md").read_text()
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    steps = [block for block in blocks if "sudo make install" in block]
    assert steps == ["make bundle\nsudo make install\n"] * 2, "to install, and to upgrade"


def test_the_doctor_is_run_with_the_credentials_of_the_unit():
    commands = [
        re.search(r"^sudo systemd-run .*?[^\\]$", page.read_text(), re.DOTALL | re.MULTILINE)[0]
        for page in (ROOT / "docs" / "installation.md", ROOT / "docs" / "operation.md")
    ]
    assert commands[0] == commands[1]
    unit = (ROOT / "systemd" / "inspector@.service").read_text()
    for key in ("User", "Group", "LoadCredential"):
        (setting,) = re.findall(rf"^{key}=.*$", unit, re.MULTILINE)
        assert f"-p {setting}" in commands[0]


def install_from(bundle: Path, root: Path) -> str:
    """What the bundle's script says when it fails."""
    done = subprocess.run(
        ["sh", bundle / "install.sh"],
        capture_output=True, text=True, timeout=600, check=False,
        env={"PATH": "/usr/bin:/bin", "DESTDIR": str(root)},
    )  # fmt: skip
    assert done.returncode == 1, done
    return done.stderr + done.stdout


def _link(source: str, target: str) -> None:
    Path(target).hardlink_to(source)
